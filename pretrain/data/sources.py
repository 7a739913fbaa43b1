"""What to train on, as configuration, and a source that is ready to be read: one sample at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from torch import Tensor

from pretrain.data.clip_sampling import ClipSegments, CropConfig, SegmentConfig, crop_clip, draw_segments, frame_times
from pretrain.data.index import Entry, Index
from pretrain.data.layouts import (
    read_image,
    words_of,
)
from pretrain.data.timestamp_decoder import frames_at, video_duration
from tvts_bench.config_fields import Option, check_fields
from tvts_bench.datasets.scripted_motion.world import StoryConfig
from tvts_bench.errors import UserError

Kind = Literal["yt_temporal", "folder", "cc3m", "webvid", "scripted_motion", "scripted_motion_drawn"]
NARRATED: tuple[Kind, ...] = ("yt_temporal", "folder", "scripted_motion")
CAPTIONED: tuple[Kind, ...] = ("cc3m", "webvid")
TUBELET = 2  # frames the encoder needs at least, and a multiple of which it takes


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of the mixture."""

    kind: Kind
    root: Annotated[Path | None, Option("null: scripted_motion's default world, made in the cache on first use.")] = (
        None
    )
    annotations: Annotated[Path | None, Option("A list or folder in place of the one found under root.")] = None
    split: Literal["train", "val"] = "train"
    weight: Annotated[float, Option("Steps taken from it, relative to the other sources.", above=0)] = 1.0
    stories: Annotated[
        StoryConfig | None, Option("Of the kinds of scripted_motion: what they tell; null: as the default world.")
    ] = None
    pool: Annotated[
        int | None,
        Option(
            "Of scripted_motion_drawn: stories, each drawn once and told in other words anew; null: all, always drawn.",
            least=1,
        ),
    ] = None
    frames: Annotated[
        int,
        Option(
            "M; the paper has 16 for YT-Temporal, 4 for WebVid and 1 for CC3M (shown twice to the model).",
            least=1,
            most=4_096,
        ),
    ] = 16
    batch_size: Annotated[int | None, Option("Over all processes; null: the run's.", least=1, most=1_000_000)] = None
    max_unreadable: Annotated[
        float, Option("Share of broken or missing files above which a run stops.", least=0, most=1)
    ] = 0.05

    def __post_init__(self) -> None:
        """Refuse values that do not go together."""
        check_fields(self)
        if self.kind == "scripted_motion_drawn" and (self.root or self.annotations):
            raise UserError("scripted_motion_drawn reads no files: leave out root and annotations, or use the kind "
                            "scripted_motion")  # fmt: skip
        if self.stories is not None and not self.kind.startswith("scripted_motion"):
            raise UserError(f"stories are told in scripted_motion alone, not in {self.kind}: leave them out")
        if self.pool is not None and self.kind != "scripted_motion_drawn":
            raise UserError(f"a pool holds what is drawn, and {self.kind} is read from files: leave pool out")
        if self.root is None and not self.kind.startswith("scripted_motion"):
            raise UserError(f"source {self.kind} needs root, the folder that holds it")
        if self.frames != 1 and self.frames % TUBELET:
            raise UserError(f"frames must be 1 or a multiple of {TUBELET}, got {self.frames}")
        if self.kind == "cc3m" and self.frames != 1:
            raise UserError(f"cc3m holds images: frames must be 1, got {self.frames}")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip and its texts."""

    id: str
    clip: Tensor  # uint8 [3, T, size, size]
    texts: tuple[str, ...]  # K segments in true order, or one caption
    events: Counter[str] = field(default_factory=Counter)  # what was not as drawn first


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source ready to be read; small to pickle."""

    config: SourceConfig
    index: Index
    segments: SegmentConfig
    crop: CropConfig

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.config.kind} ({self.config.split})"

    @property
    def world(self) -> str | None:
        """Digest of the world whose stories are drawn; None where files are read."""
        return None

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, number: int, rng: np.random.Generator, *, training: bool = True) -> Sample:
        """Sample `number` with every random choice from `rng`.

        Args:
            number: from 0, in the order of the index.
            rng: the sample's own generator.
            training: whether frames and crop are drawn; else they are the centre ones.

        Raises:
            VideoDecodeError: the video or image cannot be read.
            TranscriptError: the transcript has changed since it was checked.
        """
        entry = self.index[number]
        # Children of one generator: how many numbers one choice takes does not move the others.
        for_cut, for_frames, for_crop = rng.spawn(3)
        within = for_frames if training else None
        texts, cut = self._texts(entry, for_cut)
        if self.config.kind == "cc3m":
            frames = read_image(entry.path)[None]
        else:
            begin, end = (0.0, video_duration(entry.path)) if cut is None else (cut.begin, cut.end)
            frames = frames_at(entry.path, frame_times(begin, end, self.config.frames, within))
        if len(frames) < TUBELET:
            frames = np.repeat(frames, TUBELET, axis=0)
        clip = crop_clip(frames, self.crop, for_crop if training else None)
        return Sample(id=entry.id, clip=clip, texts=texts, events=Counter() if cut is None else cut.events)

    def texts(self, number: int, rng: np.random.Generator) -> tuple[str, ...]:
        """The words of a sample alone."""
        return self._texts(self.index[number], rng)[0]

    def _texts(self, entry: Entry, rng: np.random.Generator) -> tuple[tuple[str, ...], ClipSegments | None]:
        """The words of a sample, and how it is cut out of narrated video."""
        if entry.transcript is None:
            return (entry.caption,), None
        words = words_of(entry.transcript, entry.duration)
        cut = draw_segments(words, entry.duration, self.segments, rng)
        return cut.texts(words), cut
