"""A training small enough for tests: four-frame clips of 32 pixels, a transformer of two blocks, every real part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.plain_videos import write_frames
from tvts_bench.backbones.base import WeightSource
from tvts_bench.backbones.tvts import TVTS
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.classifier_step import StepSettings
from tvts_bench.training.clip_loader import ClipLoader, ClipsConfig
from tvts_bench.training.ranks import Rank
from tvts_bench.training.recipes import Recipe
from tvts_bench.training.supervised import Measure, Trained, TrainingPlace, train_classifier

COLOURS = ((200, 40, 40), (40, 180, 40), (40, 40, 200))
RECIPE = Recipe(
    base_lr=1e-3 * 64,  # 1e-3 for batches of 4
    batch_size=4,
    epochs=3,
    warmup_epochs=1.0,
    drop_path=0.3,
    ema=0.7,
    precision="fp32",
    views="1x1",
    best="last",
)
"""With everything that draws random numbers turned on."""


def tiny_backbone(seed: int = 0) -> TVTS:
    """A transformer of two blocks with random weights."""
    config = VideoTransformerConfig(embed_dim=16, depth=2, num_heads=2, image_size=32, patch_size=16, num_frames=4)
    return TVTS(VideoTransformer.seeded(config, seed), "toy", WeightSource(name="toy", sha256="0" * 64))


def write_records(folder: Path, count: int = 12, start: int = 0) -> tuple[VideoRecord, ...]:
    """`count` clips of three colours in turn, each a little different; two frames of one group."""
    records = []
    for number in range(start, start + count):
        label = number % 3
        rng = np.random.default_rng(number)
        frames = [[value + int(rng.integers(-30, 30)) for value in COLOURS[label]] for _ in range(6)]
        path = write_frames(folder / f"{number}.mp4", frames)
        records.append(VideoRecord(id=f"v{number:03d}", path=path, label=label))
    return tuple(records)


def train(
    records: Sequence[VideoRecord],
    folder: Path,
    recipe: Recipe = RECIPE,
    *,
    rank: Rank | None = None,
    frozen: bool = False,
    measure: Measure | None = None,
    **place: Any,
) -> tuple[Classifier, Trained]:
    """`train_classifier` with what the tests never vary."""
    rank, backbone = rank or Rank(), tiny_backbone()
    clip = replace(backbone.clip_spec, num_frames=4)
    settings = StepSettings(recipe=recipe, clip=clip, num_classes=3, rank=rank)
    config = ClipsConfig.of(recipe, clip, "pyav")
    loader = ClipLoader(records, config, rank=rank.rank, world_size=rank.world_size)
    model = Classifier(backbone, 3, frozen=frozen, drop_path=0 if frozen else recipe.drop_path)
    trained = train_classifier(
        model, loader, settings, TrainingPlace(**{"folder": folder, "digest": "d", **place}), measure
    )
    return model, trained
