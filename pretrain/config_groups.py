"""The groups of keys that a run's configuration is made of, beside those of the model, and how large they may be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Where the weights start. By default they are drawn from the seed (and text.name gives pretrained text)."""

    mae: Path | None = None  # mae_pretrain_vit_base.pth: ImageNet weights for the video encoder, inflated
    checkpoint: Path | None = None  # of an earlier run (its last.pt, or the official .pth): every part of the model
    video: Literal["timm", "mae"] = "timm"  # how the encoder is drawn where no weights are given; see model.untrained
    text_steps: int = 0  # of masked-language modelling before training, at most the run's own; for text.name=null
    text_lr: float = 1e-3  # of those steps
    text_batch: int = 256  # transcripts of one of those steps

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if self.mae and self.checkpoint:
            raise ConfigError("mae and checkpoint both say where the video encoder starts; give one")
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
        """Refuse values that make no sense."""
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
        """Refuse values that make no sense."""
        if self.every_steps < 0 or self.every_minutes < 0:
            raise ConfigError("every_steps and every_minutes must be 0 (never) or more")


LARGEST: Mapping[str, int] = {
    "steps": 10**9,
    "epochs": 10**6,
    "video.embed_dim": 65_536,
    "video.depth": 1_000,
    "video.mlp_ratio": 64,
    "video.image_size": 8_192,
    "video.num_frames": 4_096,
    "text.dim": 65_536,
    "text.depth": 1_000,
    "text.mlp_ratio": 64,
    "text.max_tokens": 8_192,
    "model.projection_dim": 65_536,
    "data.batch_size": 10**6,
    "data.sources.N.batch_size": 10**6,
    "data.sources.N.frames": 4_096,
    "data.crop.short_side": 8_192,
    "optim.accumulate": 10**6,
    "init.text_steps": 10**9,
    "init.text_batch": 10**6,
    "validation.samples": 10**7,
    "validation.clips": 10**7,
    "validation.source.frames": 4_096,
}
"""By dotted key; N is the number of an item."""

WEIGHTS = 20 * 10**9
"""Of both encoders together."""


def refuse_too_large(values: Mapping[str, Any]) -> None:
    """Refuse a number of `values` (by dotted key) beyond its limit, and sizes that make too many weights together.

    Raises:
        ConfigError: with the key, the value and the limit.
    """
    for key, value in values.items():
        limit = LARGEST.get(re.sub(r"\.\d+\.", ".N.", key))
        if limit is not None and value is not None and value > limit:
            raise ConfigError(f"{key} must be at most {limit:,}, got {value:,}")
    weights = num_weights(values)
    if weights > WEIGHTS:
        raise ConfigError(
            f"video and text describe networks of {weights:,} weights, more than the {WEIGHTS:,} allowed: make depth or"
            " width (video.embed_dim, text.dim) smaller"
        )


def num_weights(values: Mapping[str, Any]) -> int:
    """About how many weights both encoders have; of the text encoder only where it is built here."""
    width, patch = values["video.embed_dim"], values["video.patch_size"]
    tokens = (values["video.image_size"] // patch) ** 2 + values["video.num_frames"]
    weights = _blocks(values, "video", width) + tokens * width + 3 * patch**2 * values["video.tubelet"] * width
    if values["text.name"] is None:
        weights += _blocks(values, "text", values["text.dim"]) + values["text.max_tokens"] * values["text.dim"]
    return int(weights)


def _blocks(values: Mapping[str, Any], part: str, width: int) -> int:
    """Four matrices of attention and two of the MLP in each block."""
    return int(values[f"{part}.depth"] * (4 + 2 * values[f"{part}.mlp_ratio"]) * width**2)
