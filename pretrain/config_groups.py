"""The groups of keys that a run's configuration is made of, beside those of the model, and how large they may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pretrain.data.clip_sampling import CropConfig
from pretrain.data.sources import SourceConfig
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on. The defaults are the paper's."""

    sources: tuple[SourceConfig, ...]
    batch_size: Annotated[
        int, Option("Over all processes (the paper: 24 x 32); a source may have its own.", least=1, most=1_000_000)
    ] = 768
    lengths: Annotated[tuple[float, ...], Option("Seconds (l) of a transcript segment, one drawn for each sample.")] = (
        3.0,
        4.0,
        5.0,
    )
    gap: Annotated[float, Option("Seconds between segments.")] = 1.0
    min_length: Annotated[float, Option("Seconds that the segments of a short video may be shortened to.")] = 1.0
    crop: CropConfig = field(default_factory=CropConfig)
    max_failures: Annotated[
        float, Option("Share of samples unreadable while training above which the run stops.", least=0, most=1)
    ] = 0.05
    strict: Annotated[bool, Option("One unreadable sample ends the run.")] = False


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The parts of TVTS beside the two encoders. The defaults are the paper's."""

    mask: Annotated[float, Option("Share of each tubelet's patches that is dropped before it is embedded.")] = 0.75
    projection_dim: Annotated[int, Option("Of the space where clips and transcripts are compared.", most=65_536)] = 256
    sorter_heads: Annotated[int | None, Option("null: as many as the video encoder's.")] = None
    sorter_lr_scale: Annotated[
        float, Option("Learning rate of the sorter as a multiple of optim.lr; it is always drawn anew.", above=0)
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Where the weights start. By default they are drawn from the seed (and text.name gives pretrained text)."""

    mae: Annotated[
        Path | None, Option("mae_pretrain_vit_base.pth: ImageNet weights for the video encoder, inflated.")
    ] = None
    checkpoint: Annotated[
        Path | None,
        Option(
            "Of an earlier run (its last.pt, or the official .pth): every part of the model; or a file of encoders"
            " (see `tvts-pretrain start`): those parts, and the others are drawn from the seed."
        ),
    ] = None
    start: Annotated[
        int | None, Option("Seed of a common start of both encoders, made on first use; see pretrain.start.", least=0)
    ] = None
    video: Annotated[
        Literal["timm", "mae"], Option("How the encoder is drawn where no weights are given; see pretrain.model.init.")
    ] = "timm"
    text_steps: Annotated[
        int,
        Option(
            "Of masked-language modelling before training, at most the run's own; for text.name=null.",
            least=0,
            most=1_000_000_000,
        ),
    ] = 0
    text_lr: Annotated[float, Option("Of those steps.")] = 1e-3
    text_batch: Annotated[int, Option("Transcripts of one of those steps.", least=1, most=1_000_000)] = 256

    def __post_init__(self) -> None:
        """Refuse values that do not go together."""
        given = [name for name in ("mae", "checkpoint", "start") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} both say where the video encoder starts; give one")
        if self.start is not None and self.text_steps:
            raise UserError(f"text_steps={self.text_steps} would train anew the text encoder that start={self.start} "
                              "brings along; set init.text_steps=0")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is measured on held-out data while training. It changes no weight."""

    every: Annotated[int, Option("Steps between measurements; 0: never.", least=0)] = 0
    source: Annotated[SourceConfig | None, Option("Narrated videos, to be sorted and aligned.")] = None
    samples: Annotated[int, Option("Of that source, the first ones.", least=2, most=10_000_000)] = 256
    dataset: Annotated[
        str | None, Option("Labelled videos for retrieval: a name that `tvts-bench retrieval --dataset` takes.")
    ] = None
    root: Annotated[Path | None, Option("Of that data set.")] = None
    clips: Annotated[int, Option("Of it, spread evenly over its default split.", least=2, most=10_000_000)] = 600


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the whole state is saved."""

    every_steps: Annotated[int, Option("Steps between states; 0: not by steps.", least=0)] = 1000
    every_minutes: Annotated[float, Option("Minutes between states; 0: not by time.", least=0)] = 15.0
    best: Annotated[
        Literal["recall_at_1", "order_accuracy", "position_accuracy", "pair_accuracy"] | None,
        Option("Also keep the state at which this held-out measure was highest; null: only the last, the one to use."),
    ] = None


WEIGHTS = 20 * 10**9
"""Of both encoders together."""


def refuse_too_large(values: Mapping[str, Any]) -> None:
    """Refuse sizes (`values` by dotted key) that make too many weights together.

    Raises:
        UserError: With their number and the limit.
    """
    weights = num_weights(values)
    if weights > WEIGHTS:
        raise UserError(
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
