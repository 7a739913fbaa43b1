"""Every objective learns a toy problem, through the whole model, and uses its context where it has one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pretrain.model.sorter import SortTransformer
from pretrain.model.text import TextConfig, TextTokenizer
from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.objectives import ordering
from pretrain.objectives.config import ObjectiveConfig, SortModelling
from pretrain.objectives.losses import chance, step_loss
from tvts_bench.models.vit import VideoTransformerConfig

WORDS = ("red", "green", "blue")
TOKENIZER = TextTokenizer.from_corpus(WORDS, max_tokens=4)
BATCH = 8


def tiny(objective: ObjectiveConfig) -> TVTS:
    config = TVTSConfig(
        video=VideoTransformerConfig(
            embed_dim=16, depth=1, num_heads=2, image_size=4, patch_size=4, num_frames=6, tubelet=2
        ),
        text=TextConfig(name=None, max_tokens=4, dim=16, depth=1, num_heads=2, dropout=0.0),
        objective=objective,
        projection_dim=8,
        mask=0.0,
    )
    return TVTS.seeded(config, TOKENIZER, seed=0)


def batch(colours: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clips of one colour a tubelet, and a transcript that names them: `colours` int64 [B, 3]."""
    pixels = 2 * torch.eye(3)[colours].permute(0, 2, 1).repeat_interleave(2, dim=2)  # [B, 3, 6]
    clips = pixels[..., None, None].expand(-1, -1, -1, 4, 4)
    ids, mask = TOKENIZER([WORDS[colour] for row in colours.tolist() for colour in row])
    shape = (len(colours), 3, -1)
    return clips, ids.reshape(shape), mask.reshape(shape), torch.full((len(colours),), 3)


def train(objective: ObjectiveConfig, colours: Tensor, steps: int) -> tuple[float, dict[str, float]]:
    """Total loss and metrics at the last step."""
    model, generator = tiny(objective), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    clips, ids, mask, segments = batch(colours)
    for _ in range(steps):
        loss = step_loss(
            model(clips, ids, mask, segments, model.present(len(clips), 6, generator)), segments, objective
        )
        optimiser.zero_grad()
        loss["loss"].backward()
        optimiser.step()
    return float(loss["loss"].detach()), {name: float(value) for name, value in loss.items() if "accuracy" in name}


def test_alignment_learns_which_colour_is_meant() -> None:
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    loss, metrics = train(ObjectiveConfig(sort="none", segments=3), colours, steps=60)
    assert metrics == {"alignment_accuracy": 100}
    assert loss < 0.3  # chance: 2 log 3 = 2.2


@pytest.mark.parametrize(
    "options",
    [
        {"sort": "k_way"},
        {"sort": "pairwise"},
        {"sort": "factorial"},
        {"sort": "factorial", "target": "vcop"},
        {"sort": "pairwise", "target": "merlot"},
        {"sort": "k_way", "target": "merlot_like"},
        {"sort": "pairwise", "target": "merlot_like"},
        {"sort": "factorial", "target": "merlot_like"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_each_sorting_objective_learns_an_order(options: Any) -> None:
    """Red is first and blue is last; L_sort alone, its gradient stopped before the text encoder."""
    objective = ObjectiveConfig(align=False, segments=3, weight=1.0, **options)
    loss, metrics = train(objective, torch.arange(3).expand(BATCH, 3), steps=40)
    guess = chance(objective, BATCH, items=3)
    assert set(metrics) == set(guess)
    assert all(metrics[name] == 100 > guess[name] for name in guess)
    assert loss < 0.3  # chance: log 3 = 1.1, log 2 = 0.7 or log 6 = 1.8


@pytest.mark.parametrize("modelling", ["k_way", "pairwise", "factorial"])
def test_the_sorter_learns_an_order_that_only_the_video_tells(modelling: SortModelling) -> None:
    """The same three texts run forwards in one kind of video and backwards in the other."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SortTransformer(32, 4, 3, modelling)
    texts, kinds = torch.randn(3, 32, generator=generator), torch.randn(2, 32, generator=generator)
    kind = torch.arange(16) % 2
    said = torch.where(kind[:, None] == 0, torch.arange(3), torch.arange(2, -1, -1))  # [16, 3]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(50):
        order = ordering.random_orders(16, 3, generator) if modelling == "factorial" else None
        shown = said if order is None else said.gather(1, order)
        result = ordering.sorting(modelling, model(kinds[kind][:, None], texts[shown]), order)
        optimiser.zero_grad()
        result.loss.mean().backward()
        optimiser.step()
    assert float(result.loss.detach().mean()) < 0.1
    assert float(result.accuracies["order_accuracy"].mean()) == 100
