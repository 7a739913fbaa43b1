"""The groups of keys that a run's configuration is made of, beside those of the model and its parts."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pretrain.data.cropping import CropConfig
from pretrain.data.sources import SourceConfig
from pretrain.schema import ConfigError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on. The defaults are the paper's."""

    sources: tuple[SourceConfig, ...]
    batch_size: int = 768  # over all processes (the paper: 24 x 32); a source may have its own
    lengths: tuple[float, ...] = (3.0, 4.0, 5.0)  # l, seconds a transcript segment, one drawn for each sample
    gap: float = 1.0  # seconds between segments
    min_length: float = 1.0  # seconds that the segments of a short video may be shortened to
    crop: CropConfig = field(default_factory=CropConfig)
    max_failures: float = 0.05  # share (0..1) of samples unreadable while training above which the run stops
    strict: bool = False  # one unreadable sample ends the run


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The parts of TVTS beside the two encoders. The defaults are the paper's."""

    mask: float = 0.75  # share of each tubelet's patches that is dropped before it is embedded
    projection_dim: int = 256  # of the space where clips and transcripts are compared
    sorter_heads: int | None = None  # null: as many as the video encoder's
    sorter_lr_scale: float = 1.0  # its learning rate as a multiple of optim.lr; fresh beside encoders that have a start

    def __post_init__(self) -> None:
        if not 0 < self.sorter_lr_scale < math.inf:
            raise ConfigError(f"sorter_lr_scale must be positive, got {self.sorter_lr_scale}")


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Where the weights start. By default they are drawn from the seed (and text.name gives pretrained text)."""

    mae: Path | None = None  # mae_pretrain_vit_base.pth: ImageNet weights for the video encoder, inflated
    checkpoint: Path | None = None  # of an earlier run (its last.pt, or the official .pth): every part of the model;
    # or encoders (a start, an export): those parts, and the others are drawn from the seed
    start: int | None = None  # seed of a common start of both encoders, made on first use; see pretrain.start
    video: Literal["timm", "mae"] = "timm"  # how the encoder is drawn where no weights are given; see model.untrained
    text_steps: int = 0  # of masked-language modelling before training, at most the run's own; for text.name=null
    text_lr: float = 1e-3  # of those steps
    text_batch: int = 256  # transcripts of one of those steps

    def __post_init__(self) -> None:
        given = [name for name in ("mae", "checkpoint", "start") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} both say where the video encoder starts; give one")
        if self.start is not None and self.start < 0:
            raise ConfigError(f"start is a seed, 0 or more, got {self.start}")
        if self.start is not None and self.text_steps:
            raise ConfigError(f"text_steps={self.text_steps} would train anew the text encoder that start={self.start} "
                              "brings along; set init.text_steps=0")  # fmt: skip
        if self.text_steps < 0 or self.text_batch < 1:
            raise ConfigError(f"text_steps must be 0 or more and text_batch positive, got {self.text_steps} and "
                              f"{self.text_batch}")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is measured on held-out data while training. It changes no weight."""

    every: int = 0  # steps; 0: never
    source: SourceConfig | None = None  # narrated videos, to be sorted and aligned
    samples: int = 256  # of that source, the first ones
    dataset: str | None = None  # labelled videos for retrieval: a name that `tvts-bench retrieval --dataset` takes
    root: Path | None = None  # of that data set
    clips: int = 600  # of it, spread evenly over its default split

    def __post_init__(self) -> None:
        if self.every < 0 or self.samples < 2 or self.clips < 2:
            raise ConfigError(
                f"every must be 0 or more, samples and clips at least 2, got {self.every}, {self.samples}, {self.clips}"
            )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the whole state is saved."""

    every_steps: int = 1000  # 0: not by steps
    every_minutes: float = 15.0  # 0: not by time
    best: Literal["recall_at_1", "order_accuracy", "position_accuracy", "pair_accuracy"] | None = None
    """Also keep the state at which this held-out measure was highest. Null: only the last, which is the one to use."""

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.every_minutes < 0:
            raise ConfigError("every_steps and every_minutes must be 0 (never) or more")
