"""A training run as typed configuration: presets from YAML, `key=value` overrides, one digest.

What can change the trained weights is in `RunConfig` and its digest; where and how fast the run happens is in
`Place`, which is in neither.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from pretrain.data.cropping import CropConfig
from pretrain.data.segments import SegmentConfig
from pretrain.data.sources import SourceConfig
from pretrain.model.text import TextConfig
from pretrain.model.tvts import TVTSConfig
from pretrain.objectives.config import ObjectiveConfig
from pretrain.presets import preset_text
from pretrain.schema import ConfigError, build, override, plain, unknown_key
from tvts_bench import provenance
from tvts_bench.errors import UserError
from tvts_bench.models.vit import VideoTransformerConfig
from tvts_bench.training.optim import OptimConfig

ALIASES = {
    "batch_size": "data.batch_size",
    "lr": "optim.lr",
    "root": "data.sources.0.root",
    "objective.lambda": "objective.weight",  # a reserved word of Python
    "objective.tau": "objective.temperature",
    "objective.k": "objective.segments",
}
"""Short and customary names for keys."""
PLACE = ("out", "device", "workers", "threads", "log_every", "cache")
"""Keys of `Place`, at the top level on the command line."""
FREE_ON_RESUME = ("data.batch_size", "data.sources", "optim.accumulate", "data.max_failures", "data.strict")
"""What may differ when a run is taken up again; `data.sources` only in its folders and batch sizes."""


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


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that can change the trained weights."""

    data: DataConfig
    description: str = ""  # one line for `tvts-pretrain presets`
    seed: int = 0  # of initial weights, order of samples, crops, frames, masks and dropout
    steps: int | None = None  # length of the run in optimiser steps; or
    epochs: float | None = None  # in passes over the first source
    video: VideoTransformerConfig = field(default_factory=VideoTransformerConfig)
    text: TextConfig = field(default_factory=TextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    collapse_after: int = 500  # steps in a row with all embeddings alike after which the run stops as failed

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError("exactly one of steps and epochs says how long the run is; set the other to null")
        length = self.steps if self.steps is not None else self.epochs
        if length is None or not length > 0:
            raise ConfigError(f"steps or epochs must be positive, got {length}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if self.data.crop.size != self.video.image_size:
            raise ConfigError(
                f"data.crop.size {self.data.crop.size} and video.image_size {self.video.image_size} must be equal"
            )
        if self.init.video == "mae" and self.video.embed_dim % 4:
            raise ConfigError(f"init.video=mae needs a video.embed_dim that 4 divides, got {self.video.embed_dim}")
        if not self.data.sources:
            raise ConfigError("data.sources is empty: give at least one source")
        if self.init.text_steps and self.text.name is not None:
            raise ConfigError("init.text_steps is for a text encoder built here; text.name is one already pretrained")
        for source in self.data.sources:
            if source.frames > self.video.num_frames:
                raise ConfigError(f"a source has {source.frames} frames, more than video.num_frames "
                                  f"{self.video.num_frames}")  # fmt: skip
        assert self.network  # refuses sizes that do not go together
        assert self.segments

    @property
    def network(self) -> TVTSConfig:
        """The configuration of the model."""
        return TVTSConfig(
            video=self.video,
            text=self.text,
            objective=self.objective,
            projection_dim=self.model.projection_dim,
            sorter_heads=self.model.sorter_heads,
            mask=self.model.mask,
        )

    @property
    def segments(self) -> SegmentConfig:
        """How samples are cut out of narrated video."""
        data = self.data
        return SegmentConfig(
            segments=self.objective.segments, lengths=data.lengths, gap=data.gap, min_length=data.min_length
        )

    @property
    def digest(self) -> str:
        """sha256 (hex) of the configuration."""
        return provenance.digest(self)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how fast a run happens; none of it changes the weights."""

    out: Path | None = None  # the run's folder; null: runs/PRESET
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    workers: int = 1  # loading processes for each training process; 0 loads in the training process
    threads: int | None = None  # of the training process on a CPU; null: the cores that loading leaves free
    log_every: int = 10  # steps between readings of the losses; every step is logged, a GPU is waited for only then
    cache: Path | None = None  # of indexes and the embedded world; null: the user's

    def __post_init__(self) -> None:
        if self.workers < 0 or self.log_every < 1:
            raise ConfigError(f"workers must be 0 or more and log_every positive, got {self.workers}, {self.log_every}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1 or null, got {self.threads}")


def compose(preset: str, assignments: Sequence[str]) -> tuple[RunConfig, Place]:
    """The preset with `key=value` assignments, and where to run it.

    Args:
        preset: a name of `presets`, or the path of a YAML file of the same layout.
        assignments: such as "steps=4", "objective.lambda=2", "data.sources.0.root=/data/yt".

    Raises:
        ConfigError: no such preset or key, a value of the wrong type, or settings that do not go together.
    """
    values = yaml.safe_load(preset_text(preset))
    if not isinstance(values, dict):
        raise ConfigError(f"{preset} holds no configuration: expected a YAML mapping")
    config, place = apply(values, {}, assignments)
    if place.out is None:
        place = dataclasses.replace(place, out=Path("runs") / Path(preset).stem)
    return config, place


def apply(values: dict[str, Any], place: dict[str, Any], assignments: Sequence[str]) -> tuple[RunConfig, Place]:
    """Plain values of a run and its place with assignments on top; `values` and `place` are changed."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected key=value, got {assignment!r}")
        key = ALIASES.get(key, key)
        if key in PLACE:
            override(place, key, text)
            continue
        top = key.partition(".")[0]
        known = [each.name for each in dataclasses.fields(RunConfig)]
        if top not in known:
            raise unknown_key(top, [*known, *PLACE, *ALIASES])
        override(values, key, text)
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if key == one and values.get(one) is not None:
                values[other] = None
    return build(RunConfig, values), build(Place, place)


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration with its digest, as it is saved with the run."""
    head = f"# Resolved configuration of a run; digest {config.digest}\n"
    text: str = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=120)
    return head + text


def from_yaml(text: str, source: Path) -> RunConfig:
    """What `to_yaml` wrote.

    Raises:
        ConfigError: it is not that.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds no configuration: expected a YAML mapping")
    try:
        return build(RunConfig, values)
    except UserError as error:
        raise ConfigError(f"{source}: {error}") from error


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """The dotted keys in which two configurations differ."""
    before, after = _flat(plain(old)), _flat(plain(new))
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for name, item in items for k, v in _flat(item, f"{at}.{name}" if at else str(name)).items()}
    return {at: value}
