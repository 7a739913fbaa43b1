"""A training small enough for tests: four-frame clips of 32 pixels, a transformer of two blocks, every real part."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from tests.support.plain_videos import write_frames
from tvts_bench.backbones.base import Backbone, WeightSource
from tvts_bench.backbones.tvts import TVTSBackbone
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import Rank
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig
from tvts_bench.runtime import Progress
from tvts_bench.training.checkpoint import RunDir
from tvts_bench.training.classification import Measure, Trained, train_classifier
from tvts_bench.training.classifier import Classifier, ClassifierSettings
from tvts_bench.training.dataloader import ClipLoader
from tvts_bench.training.recipe import UNMIXED, Recipe

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
STEADY = replace(RECIPE, mix=UNMIXED, drop_path=0.0)  # draws nothing but clips


TWELVE = VideoTransformerConfig(embed_dim=8, depth=12, num_heads=2, image_size=8, patch_size=4, num_frames=4)
"""As many layers as the paper's encoder."""


def tiny_backbone(seed: int = 0) -> TVTSBackbone:
    """A transformer of two blocks with random weights."""
    config = VideoTransformerConfig(embed_dim=16, depth=2, num_heads=2, image_size=32, patch_size=16, num_frames=4)
    return TVTSBackbone(VideoTransformer.seeded(config, seed), "toy", WeightSource(name="toy", sha256="0" * 64))


class Normed(Backbone):
    """A backbone that ends in `norm`, a batch norm of three channels; of vectors, it cannot be trained on one clip."""

    family, variant, embed_dim = "normed", "toy", 3

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.clip_spec, self.weights = tiny_backbone().clip_spec, tiny_backbone().weights
        self.norm = norm

    def forward(self, clips: Tensor) -> Tensor:
        """[B, 3]."""
        if isinstance(self.norm, nn.BatchNorm1d):
            return self.norm(clips.mean(dim=(2, 3, 4)))  # type: ignore[no-any-return]
        return self.norm(clips).mean(dim=(2, 3, 4))  # type: ignore[no-any-return]


def write_records(folder: Path, count: int = 12) -> tuple[VideoRecord, ...]:
    """`count` clips of three colours in turn, each a little different."""
    records = []
    for number in range(count):
        rng = np.random.default_rng(number)
        frames = [[value + int(rng.integers(-30, 30)) for value in COLOURS[number % 3]] for _ in range(6)]
        path = write_frames(folder / f"{number}.mp4", frames)
        records.append(VideoRecord(id=f"v{number:03d}", path=path, label=number % 3))
    return tuple(records)


def settings_of(recipe: Recipe = RECIPE, rank: Rank | None = None) -> ClassifierSettings:
    """Three classes of the tiny backbone's clips."""
    return ClassifierSettings(recipe=recipe, clip=tiny_backbone().clip_spec, num_classes=3, rank=rank or Rank())


def loader_of(records: Sequence[VideoRecord], recipe: Recipe = RECIPE, rank: Rank | None = None) -> ClipLoader:
    """A rank's batches, made in this process."""
    return ClipLoader(records, recipe, tiny_backbone().clip_spec, decoder="pyav", rank=rank or Rank())


def train(
    records: Sequence[VideoRecord],
    folder: Path,
    recipe: Recipe = RECIPE,
    *,
    rank: Rank | None = None,
    frozen: bool = False,
    measure: Measure | None = None,
    backbone: Backbone | None = None,
    **run: Any,
) -> tuple[Classifier, Trained]:
    """`train_classifier` with what the tests never vary."""
    run_dir = RunDir(**{"folder": folder, "digest": "this", **run})
    model = Classifier(backbone or tiny_backbone(), 3, frozen=frozen, drop_path=recipe.drop_path)
    trained = train_classifier(model, loader_of(records, recipe, rank), settings_of(recipe, rank), run_dir, measure)
    return model, trained


def stopping_after(step: int, number: int = signal.SIGTERM) -> Progress:
    """A progress bar that has this process told to stop while it works on `step`."""

    @contextmanager
    def progress(total: int, unit: str, description: str) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            if done == step:
                os.kill(os.getpid(), number)

        yield advance

    return progress
