"""A TVTS of a few numbers, all objectives, and a batch for it."""

from typing import Any

import torch
from torch import Tensor

from pretrain.model.text import TextConfig, TextTokenizer
from pretrain.model.tvts import TVTS, TVTSConfig, TVTSOutput
from pretrain.objectives.config import ObjectiveConfig
from tvts_bench.models.vit import VideoTransformerConfig

TOKENIZER = TextTokenizer.from_corpus(["one two three four five six"], max_tokens=5)


VIDEO = VideoTransformerConfig(embed_dim=12, depth=1, num_heads=2, image_size=8, patch_size=2, num_frames=8)


TEXT = TextConfig(name=None, max_tokens=5, dim=12, depth=1, num_heads=2, dropout=0.0)


OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"sort": "none"},
    {"sort": "k_way"},
    {"sort": "pairwise"},
    {"sort": "factorial"},
    {"sort": "factorial", "target": "vcop"},
    {"sort": "pairwise", "target": "merlot"},
    {"sort": "k_way", "target": "merlot_like"},
)


def model_for(**objective: Any) -> TVTS:
    config = TVTSConfig(
        video=VIDEO, text=TEXT, objective=ObjectiveConfig(**{"segments": 3} | objective), projection_dim=6, mask=0.5
    )
    return TVTS.seeded(config, TOKENIZER, seed=0)


def inputs(samples: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(samples, 3, 8, 8, 8, generator=generator)
    ids = torch.randint(4, len(TOKENIZER), (samples, 3, 5), generator=generator)
    ids[..., 0] = 2
    return clips, ids, torch.ones_like(ids), torch.full((samples,), 3)


def run(model: TVTS, batch: tuple[Tensor, Tensor, Tensor, Tensor], seed: int = 0) -> TVTSOutput:
    shown = model.present(len(batch[0]), 8, torch.Generator().manual_seed(seed))
    result: TVTSOutput = model(*batch, shown)
    return result
