"""A training run as typed configuration: presets from YAML, `key=value` overrides, one digest.

What can change the trained weights is in `RunConfig` and its digest; where and how fast the run happens is in
`LaunchConfig`, which is in neither.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pretrain.config_groups import (
    CheckpointConfig,
    DataConfig,
    InitConfig,
    ModelConfig,
    ValidationConfig,
    refuse_too_large,
)
from pretrain.data.clip_sampling import SegmentConfig
from pretrain.data.sources import CAPTIONED, TUBELET, SourceConfig
from pretrain.model.text import TextConfig
from pretrain.model.tvts import TVTSConfig
from pretrain.objectives import ordering
from pretrain.objectives.config import ObjectiveConfig
from pretrain.yaml_config import dump, override, plain, preset_text, read_yaml
from tvts_bench import provenance
from tvts_bench.config_fields import Option, check_fields, check_nested, nested_options
from tvts_bench.errors import UserError, did_you_mean
from tvts_bench.models.vit import VideoTransformerConfig
from tvts_bench.runtime import MAX_WORKERS
from tvts_bench.training.recipe import OptimConfig
from tvts_bench.typed_json import typed

ALIASES = {
    "batch_size": "data.batch_size",
    "lr": "optim.lr",
    "root": "data.sources.0.root",
    "objective.lambda": "objective.weight",  # a reserved word of Python
    "objective.tau": "objective.temperature",
    "objective.k": "objective.segments",
}
"""Short and customary names for keys."""
FREE_ON_RESUME = (
    *("data.batch_size", "data.max_failures", "data.strict", "optim.accumulate"),
    *("validation", "checkpoint", "collapse_after", "description"),  # these change no weight
)
"""What may differ when a run is resumed; and of every source `FREE_OF_SOURCES`."""
FREE_OF_SOURCES = ("root", "annotations", "batch_size", "max_unreadable")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that can change the trained weights, and what is measured and kept on the way to them."""

    data: DataConfig
    description: Annotated[str, Option("One line for `tvts-pretrain presets`.")] = ""
    seed: Annotated[int, Option("Of initial weights, order of samples, crops, frames, masks and dropout.")] = 0
    steps: Annotated[
        int | None, Option("Length of the run in optimiser steps; this or epochs.", above=0, most=1_000_000_000)
    ] = None
    epochs: Annotated[
        float | None,
        Option("Length of the run in passes over the first source; this or steps.", above=0, most=1_000_000),
    ] = None
    video: VideoTransformerConfig = field(default_factory=VideoTransformerConfig)
    text: TextConfig = field(default_factory=TextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    collapse_after: Annotated[
        int, Option("Steps in a row with all embeddings alike after which the run stops as failed.", least=1)
    ] = 500

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_nested(self)
        refuse_too_large(self.flat)
        if (self.steps is None) == (self.epochs is None):
            raise UserError("exactly one of steps and epochs says how long the run is; set the other to null")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        if self.data.crop.size != self.video.image_size:
            raise UserError(
                f"data.crop.size {self.data.crop.size} and video.image_size {self.video.image_size} must be equal"
            )
        if self.init.video == "mae" and self.video.embed_dim % 4:
            raise UserError(f"init.video=mae needs a video.embed_dim that 4 divides, got {self.video.embed_dim}")
        if not self.data.sources:
            raise UserError("data.sources is empty: give at least one source")
        if self.init.text_steps and self.text.name is not None:
            raise UserError("init.text_steps is for a text encoder built here; text.name is one already pretrained")
        if not self.objective.align and all(source.kind in CAPTIONED for source in self.data.sources):
            raise UserError("nothing to learn: objective.align is off, and captions, which are all that data.sources "
                              "has, are not sorted")  # fmt: skip
        assert self.network  # refuses sizes that do not go together
        assert self.segments
        for source in (*self.data.sources, self.validation.source):
            if source is not None:
                self._check_frames(source)
        self._check_validation()

    def _check_frames(self, source: SourceConfig) -> None:
        """Refuse clips that the network cannot take, which else shows when the first one comes."""
        frames, tubelet = max(source.frames, TUBELET), self.video.tubelet
        if frames > self.video.num_frames:
            raise UserError(f"a source has {frames} frames, more than video.num_frames {self.video.num_frames}")
        if frames % tubelet:
            raise UserError(f"a source has {frames} frames, not a multiple of video.tubelet {tubelet}")
        if self.objective.sorts_video and frames // tubelet < self.network.items:
            raise UserError(
                f"objective.target={self.objective.target} sorts {self.network.items} pieces of every clip, but those "
                f"of {source.kind} have {frames} frames, {frames // tubelet} tubelets; give it more frames, or set "
                "objective.sort=none"
            )

    def _check_validation(self) -> None:
        """Refuse to follow a measure that is never taken, and to sort what has one text."""
        wanted, best = self.validation, self.checkpoint.best
        if wanted.source is not None and wanted.source.kind in CAPTIONED and self.objective.sorts:
            raise UserError(f"validation.source is to be narrated video, got captions ({wanted.source.kind})")
        if best is None:
            return
        if not wanted.every:
            raise UserError(f"checkpoint.best={best} needs validation.every, which is 0: nothing is measured")
        if best == "recall_at_1":
            if wanted.dataset is None:
                raise UserError("checkpoint.best=recall_at_1 needs validation.dataset, labelled videos to measure it")
            return
        if wanted.source is None:
            raise UserError(f"checkpoint.best={best} needs validation.source, narrated videos to measure it")
        measured = ordering.chance(self.objective.sort, self.network.items) if self.objective.sorts else {}
        if best not in measured:
            raise UserError(
                f"checkpoint.best={best} is not measured with objective.sort={self.objective.sort}; what is: "
                f"{', '.join([*measured, 'recall_at_1'])}"
            )

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

    @property
    def lineage(self) -> str:
        """sha256 (hex) of what must not differ when the run is resumed: its states are known by it."""
        return provenance.digest({key: value for key, value in self.flat.items() if not is_free(key)})

    @property
    def flat(self) -> dict[str, Any]:
        """Plain values by dotted key."""
        return _flat(plain(self))


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """Where and how fast a run happens; none of it changes the weights."""

    out: Annotated[Path | None, Option("The run's folder; null: runs/PRESET.")] = None
    device: Annotated[str, Option("auto, cpu, cuda, cuda:N.")] = "auto"
    workers: Annotated[
        int,
        Option(
            "Loading processes for each training process; 0 loads in the training process.", least=0, most=MAX_WORKERS
        ),
    ] = 1
    threads: Annotated[
        int | None,
        Option(
            "Of the training process on a CPU; null: the cores that loading leaves free.", least=1, most=MAX_WORKERS
        ),
    ] = None
    log_every: Annotated[
        int,
        Option("Steps between readings of the losses; every step is logged, a GPU is waited for only then.", least=1),
    ] = 10
    cache: Annotated[Path | None, Option("Of indexes and the built-in synthetic set; null: the user's.")] = None
    samples: Annotated[
        Path | None, Option("Drawn batches are kept here for runs that read the same ones; null: they are not.")
    ] = None
    changed_files: Annotated[
        Literal["refuse", "accept"], Option("On resume, of sources; accept: once, and it is logged.")
    ] = "refuse"

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)


def compose(preset: str, assignments: Sequence[str]) -> tuple[RunConfig, LaunchConfig]:
    """The preset with `key=value` assignments, and where to run it.

    Args:
        preset: a name of `presets`, or the path of a YAML file of the same layout.
        assignments: such as "steps=4", "objective.lambda=2", "data.sources.0.root=/data/yt".

    Raises:
        UserError: no such preset or key, a value of the wrong type, or settings that do not go together.
    """
    values = read_yaml(preset_text(preset), preset)
    config, launch = apply(values, {}, assignments)
    if launch.out is None:
        launch = dataclasses.replace(launch, out=Path("runs") / Path(preset).stem)
    return config, launch


def apply(values: dict[str, Any], launch: dict[str, Any], assignments: Sequence[str]) -> tuple[RunConfig, LaunchConfig]:
    """What a run is and where it runs, with assignments on top.

    Args:
        values: plain values of the run, changed in place.
        launch: those of where it runs, changed in place.
        assignments: as of `compose`.

    Raises:
        UserError: as `compose`.
    """
    known, where = ([each.name for each in dataclasses.fields(cls)] for cls in (RunConfig, LaunchConfig))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise UserError(f"expected key=value, got {assignment!r}")
        key = ALIASES.get(key, key)
        if key in where:
            override(launch, key, text)
            continue
        top = key.partition(".")[0]
        if top not in known:
            every = [*known, *where, *ALIASES]
            raise UserError(f"unknown key {top!r}{did_you_mean(top, every)}; there are: {', '.join(every)}")
        override(values, key, text)
        if key in ("steps", "epochs") and values[key] is not None:
            values["epochs" if key == "steps" else "steps"] = None
    return typed(RunConfig, values), typed(LaunchConfig, launch)


def explained(config: RunConfig | LaunchConfig) -> Iterator[str]:
    """Every key with its value, and what it means, one per line: the help of `KEY=VALUE`."""
    known = {key: field for key, field, _ in nested_options(config)}
    for key, value in _flat(plain(config), whole_lists=True).items():
        field = known.get(key) or known.get(key.rpartition(".")[0])  # of items, what the list means
        shown = json.dumps(value) if isinstance(value, list) else dump(value).splitlines()[0]
        yield f"{key}={shown}" if field is None else f"{key}={shown}  # {field.explanation}"


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration with its digest, as it is saved with the run."""
    head = f"# Resolved configuration of a run; digest {config.digest}\n"
    return head + dump(plain(config))


def from_yaml(text: str, source: Path) -> RunConfig:
    """What `to_yaml` wrote.

    Raises:
        UserError: it is not that.
    """
    values = read_yaml(text, source)
    try:
        return typed(RunConfig, values)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """The dotted keys in which two configurations differ."""
    before, after = old.flat, new.flat
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def is_free(key: str) -> bool:
    """Whether the dotted `key` may differ when a run is resumed."""
    if key.startswith("data.sources."):
        return key.rpartition(".")[2] in FREE_OF_SOURCES
    return any(key == each or key.startswith(f"{each}.") for each in FREE_ON_RESUME)


def _flat(value: Any, at: str = "", *, whole_lists: bool = False) -> dict[str, Any]:
    """Plain values by dotted key; `whole_lists` keeps lists of scalars in one piece, as one assigns them."""
    is_whole = whole_lists and isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    if isinstance(value, dict | list) and value and not is_whole:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        parts = (_flat(item, f"{at}.{name}" if at else str(name), whole_lists=whole_lists) for name, item in items)
        return {key: part for flat in parts for key, part in flat.items()}
    return {at: value}
