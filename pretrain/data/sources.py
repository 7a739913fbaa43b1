"""What to train on, as configuration; from it the checked index of samples, and from that one sample at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pretrain.data import index as indexing
from pretrain.data.captions import check_caption, list_cc3m, list_webvid, read_image
from pretrain.data.cropping import CropConfig, crop_clip
from pretrain.data.index import Checked, Entry, Index, build_index
from pretrain.data.narrated import Check, list_folder, list_yt_temporal, words_of
from pretrain.data.segments import SegmentConfig, draw_cut, frame_times
from pretrain.data.transcripts import text_between
from pretrain.data.window import frames_at, video_duration
from tvts_bench import provenance
from tvts_bench.atomic import remove_leftovers
from tvts_bench.config_fields import Option
from tvts_bench.datasets.scripted_motion.world import StoryConfig
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, default_cache, silent
from tvts_bench.snapshot import signature

Kind = Literal["yt_temporal", "folder", "cc3m", "webvid", "scripted_motion", "scripted_motion_drawn"]
NARRATED: tuple[Kind, ...] = ("yt_temporal", "folder", "scripted_motion")
CAPTIONED: tuple[Kind, ...] = ("cc3m", "webvid")
TUBELET = 2  # frames the encoder needs at least, and a multiple of which it takes


class SourceConfigError(UserError):
    """A source whose configuration makes no sense."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of the mixture."""

    kind: Kind
    root: Annotated[Path | None, Option("null: scripted_motion's default world, made in the cache on first use.")] = (
        None
    )
    annotations: Annotated[Path | None, Option("A list or folder in place of the one found under root.")] = None
    split: Literal["train", "val"] = "train"
    weight: Annotated[float, Option("Steps taken from it, relative to the other sources.")] = 1.0
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
            "M; the paper has 16 for YT-Temporal, 4 for WebVid and 1 for CC3M (shown twice to the model).", most=4_096
        ),
    ] = 16
    batch_size: Annotated[int | None, Option("Over all processes; null: the run's.", most=1_000_000)] = None
    max_unreadable: Annotated[float, Option("Share (0..1) of broken or missing files above which a run stops.")] = 0.05

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SourceConfigError(f"source kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.kind == "scripted_motion_drawn" and (self.root or self.annotations):
            raise SourceConfigError("scripted_motion_drawn reads no files: leave out root and annotations, or use the "
                                    "kind scripted_motion")  # fmt: skip
        if self.stories is not None and not self.kind.startswith("scripted_motion"):
            raise SourceConfigError(f"stories are told in scripted_motion alone, not in {self.kind}: leave them out")
        if self.pool is not None and self.kind != "scripted_motion_drawn":
            raise SourceConfigError(f"a pool holds what is drawn, and {self.kind} is read from files: leave pool out")
        if self.pool is not None and self.pool < 1:
            raise SourceConfigError(f"pool must be at least 1 story, got {self.pool}")
        if self.root is None and not self.kind.startswith("scripted_motion"):
            raise SourceConfigError(f"source {self.kind} needs root, the folder that holds it")
        if self.split not in ("train", "val"):
            raise SourceConfigError(f"split must be train or val, got {self.split!r}")
        if self.frames != 1 and (self.frames < 1 or self.frames % TUBELET):
            raise SourceConfigError(f"frames must be 1 or a multiple of {TUBELET}, got {self.frames}")
        if self.kind == "cc3m" and self.frames != 1:
            raise SourceConfigError(f"cc3m holds images: frames must be 1, got {self.frames}")
        if not self.weight > 0:
            raise SourceConfigError(f"weight must be positive, got {self.weight}")
        if self.batch_size is not None and self.batch_size < 1:
            raise SourceConfigError(f"batch_size must be positive, got {self.batch_size}")
        if not 0 <= self.max_unreadable <= 1:
            raise SourceConfigError(f"max_unreadable is a share from 0 to 1, got {self.max_unreadable}")


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

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, number: int, rng: np.random.Generator, *, training: bool = True) -> Sample:
        """Sample `number` with every random choice from `rng`. Not `training`: centre frames and centre crop.

        Raises:
            VideoDecodeError: the video or image cannot be read.
            TranscriptError: the transcript has changed since it was checked.
        """
        entry = self.index[number]
        # Children of one generator: how many numbers one choice takes does not move the others.
        for_cut, for_frames, for_crop = rng.spawn(3)
        within = for_frames if training else None
        events: Counter[str] = Counter()
        texts: tuple[str, ...]
        if self.config.kind in NARRATED:
            assert entry.transcript is not None
            words = words_of(entry.transcript, entry.duration)
            cut = draw_cut(words, entry.duration, self.segments, for_cut)
            frames = frames_at(entry.path, frame_times(cut.begin, cut.end, self.config.frames, within))
            texts = tuple(text_between(words, start, start + cut.length) for start in cut.starts)
            events = cut.events
        else:
            frames, texts = self._captioned(entry, within), (entry.caption,)
        if len(frames) < TUBELET:
            frames = np.repeat(frames, TUBELET, axis=0)
        clip = crop_clip(frames, self.crop, for_crop if training else None)
        return Sample(id=entry.id, clip=clip, texts=texts, events=events)

    def _captioned(self, entry: Entry, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        if self.config.kind == "cc3m":
            return read_image(entry.path)[None]
        return frames_at(entry.path, frame_times(0.0, video_duration(entry.path), self.config.frames, rng))


def build_source(
    config: SourceConfig,
    segments: SegmentConfig,
    crop: CropConfig,
    *,
    cache: Path | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> Source:
    """List and check the samples of a source; from the cache if nothing has changed.

    Raises:
        DatasetError, AnnotationError: a folder or list that is not there or malformed.
        SourceIndexError: no usable sample, or too many unreadable files.
    """
    if config.kind == "scripted_motion_drawn":
        from pretrain.data.drawn import drawn_source  # it builds on this module

        return drawn_source(config, segments, crop, cache=cache or default_cache(), progress=progress)
    cache = cache or default_cache()
    candidates, check = _candidates(config, segments, cache, progress)
    key = provenance.digest(
        {
            "version": indexing.VERSION,
            "kind": config.kind,
            "segments": segments if config.kind in NARRATED else None,
            "files": [_fingerprint(entry) for entry in candidates],
        }
    )
    folder = cache / "pretrain-index"
    remove_leftovers(folder)
    index = build_index(
        candidates,
        check,
        folder / f"{config.kind}-{key[:20]}.arrow",
        max_unreadable=config.max_unreadable,
        workers=workers,
        progress=progress,
    )
    return Source(config=config, index=index, segments=segments, crop=crop)


def _candidates(
    config: SourceConfig, segments: SegmentConfig, cache: Path, progress: Progress
) -> tuple[Sequence[Entry], Callable[[Entry], Checked]]:
    if config.kind == "scripted_motion":
        root = _embedded_world(config, cache, progress)
        return list_yt_temporal(root, config.annotations, config.split), Check(segments=segments)
    assert config.root is not None
    if config.kind == "folder":
        return list_folder(config.root), Check(segments=segments)
    listing = {
        "yt_temporal": partial(list_yt_temporal, config.root, config.annotations, config.split),
        "cc3m": partial(list_cc3m, config.root, config.annotations, config.split),
        "webvid": partial(list_webvid, config.root, config.annotations, config.split),
    }[config.kind]
    return listing(), Check(segments=segments) if config.kind == "yt_temporal" else check_caption


def _embedded_world(config: SourceConfig, cache: Path, progress: Progress) -> Path:
    """The narrated part of a ScriptedMotion world; the default world is made in `cache` where it is missing."""
    from tvts_bench.datasets.scripted_motion import DEFAULT, make_world, parts, read_manifest

    part = f"narrated-{config.split}"
    root = config.root
    if root is None:
        world = DEFAULT if config.stories is None else DEFAULT.telling(config.stories)
        root = cache / "scripted-motion" / world.digest[:12]
        make_world(root, world, parts=(part,), progress=progress)
    manifest = read_manifest(root)
    if manifest is not None and config.stories not in (None, manifest.world.stories):
        raise SourceConfigError(f"the world in {root} tells other stories, {manifest.world.stories}, than the source "
                                f"asks for, {config.stories}: leave stories out, or name another root")  # fmt: skip
    if manifest is None or part not in manifest.parts:
        raise SourceConfigError(
            f"there is no {part} of a ScriptedMotion world in {root}; "
            f"make it with `tvts-bench make-data scripted-motion --out {root} --part {part}`"
        )
    return root / parts.folder(part)


def _fingerprint(entry: Entry) -> list[object]:
    """What an entry's files are, without reading them: any change of name, content or time is another source."""
    signatures = [signature(path) if path else None for path in (entry.path, entry.transcript)]
    return [entry.id, str(entry.path), entry.caption, str(entry.transcript or ""), *signatures]
