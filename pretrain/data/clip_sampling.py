"""Which seconds and which pixels of a video are a sample: K segments of l seconds, M frames over them all, one square.

    start                                                    K = 4, l = 3, gap 1: a span of 15 s
    |--- 0 ---| |--- 1 ---| |--- 2 ---| |--- 3 ---|          the words of each segment are one text
    x    x    x    x    x    x    x    x    x    x           M frames, one from each of M equal parts of the span

Arithmetic only: no file, no decoder, the generator passed in.

What the paper leaves open, and what is done here:
- The start is uniform over the starts at which every segment has a word (a word belongs to the segment in which it
  begins). Those starts are computed exactly from the word times, so nothing is drawn in vain.
- If no start does for the length drawn, the other lengths are tried, the longest first.
- A video shorter than the shortest span has its segments shortened to fit, down to `min_length`; below that, or if
  no start does for any length, it has no sample and is left out (`usable` says why).
- Words that begin at or after the end of the video do not exist for it (`words_inside`).
- A crop is drawn once for a whole clip: one that moved would be motion.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.data.transcripts import Word, text_between
from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError

from torchvision.transforms.v2 import functional as F  # isort: skip

FloatArray = NDArray[np.float64]

LENGTH_CHANGED = "length_changed"  # no start did for the length drawn
SHORTENED = "segments_shortened"  # the video is shorter than the shortest span
REDRAWN = "start_redrawn"  # the first start drawn left a segment without words
EVENTS = (LENGTH_CHANGED, SHORTENED, REDRAWN)

NO_WORDS = "no words"
TOO_SHORT = "video too short"
NO_START = "no start at which every segment has words"


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How samples are cut out of a narrated video. The defaults are the paper's."""

    segments: int = 4  # K, transcript segments per sample
    lengths: tuple[float, ...] = (3.0, 4.0, 5.0)  # l, seconds per segment, one drawn for each sample
    gap: float = 1.0  # seconds between segments
    min_length: float = 1.0  # seconds that segments of a short video may be shortened to

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise UserError(f"segments must be at least 1, got {self.segments}")
        if not self.lengths or min(self.lengths) <= 0:
            raise UserError(f"lengths must be one or more positive numbers of seconds, got {self.lengths}")
        if self.gap < 0:
            raise UserError(f"gap must not be negative, got {self.gap}")
        if not 0 < self.min_length <= min(self.lengths):
            raise UserError(f"min_length must be in (0, {min(self.lengths):g}], got {self.min_length}")

    def span(self, length: float) -> float:
        """Seconds from the start of the first to the end of the last segment."""
        return self.segments * length + (self.segments - 1) * self.gap

    def fitting(self, duration: float) -> tuple[float, ...]:
        """Lengths whose span fits into `duration` seconds; one shortened length, or none, if the video is too short."""
        lengths = tuple(length for length in self.lengths if self.span(length) <= duration)
        if lengths:
            return lengths
        shortened = (duration - (self.segments - 1) * self.gap) / self.segments
        return (shortened,) if shortened >= self.min_length else ()


@dataclass(frozen=True, kw_only=True)
class ClipSegments:
    """The seconds of one sample."""

    starts: tuple[float, ...]  # K, of the segments
    length: float  # of each segment
    events: Counter[str]  # what was not as drawn first: the names above

    @property
    def begin(self) -> float:
        """Start of the first segment, in seconds."""
        return self.starts[0]

    @property
    def end(self) -> float:
        """End of the last segment, in seconds."""
        return self.starts[-1] + self.length

    def texts(self, words: Sequence[Word]) -> tuple[str, ...]:
        """The text of each segment."""
        return tuple(text_between(words, start, start + self.length) for start in self.starts)


def words_inside(words: Sequence[Word], duration: float) -> tuple[Word, ...]:
    """The words that begin before the video ends."""
    return tuple(word for word in words if word.start < duration)


def usable(words: Sequence[Word], duration: float, config: SegmentConfig) -> str | None:
    """None if a sample can be cut from a video, else the reason.

    Args:
        words: of the video, sorted by start.
        duration: of the video, in seconds.
        config: how samples are cut.
    """
    if not words:
        return NO_WORDS
    lengths, times = config.fitting(duration), _times(words)
    if any(len(valid_starts(times, duration, length, config)) for length in lengths):
        return None
    return NO_START if lengths else TOO_SHORT


def draw_segments(
    words: Sequence[Word], duration: float, config: SegmentConfig, rng: np.random.Generator
) -> ClipSegments:
    """A random sample of a video that is `usable`.

    Args:
        words: of the video, sorted by start.
        duration: of the video, in seconds.
        config: how samples are cut.
        rng: the generator.
    """
    lengths, times = config.fitting(duration), _times(words)
    drawn = float(lengths[rng.integers(len(lengths))])
    others = sorted((length for length in lengths if length != drawn), reverse=True)
    starts = ((length, valid_starts(times, duration, length, config)) for length in (drawn, *others))
    length, allowed = next((length, allowed) for length, allowed in starts if len(allowed))
    start = float(rng.random()) * max(duration - config.span(length), 0.0)
    is_redrawn = not ((allowed[:, 0] <= start) & (start < allowed[:, 1])).any()
    if is_redrawn:
        start = _point(allowed, float(rng.random()))
    happened = {SHORTENED: drawn not in config.lengths, LENGTH_CHANGED: length != drawn, REDRAWN: is_redrawn}
    events = Counter(name for name, is_so in happened.items() if is_so)
    stride = length + config.gap
    return ClipSegments(starts=tuple(start + k * stride for k in range(config.segments)), length=length, events=events)


def valid_starts(times: FloatArray, duration: float, length: float, config: SegmentConfig) -> FloatArray:
    """Starts at which every segment has a word and the span ends by `duration`, as disjoint [from, to) in order.

    Args:
        times: sorted starts of words, in seconds.
        duration: of the video, in seconds.
        length: of a segment, in seconds.
        config: how samples are cut.

    Returns:
        float64 [n, 2], seconds; n = 0 if there is none.
    """
    allowed = np.array([[0.0, np.nextafter(max(duration - config.span(length), 0.0), np.inf)]])
    for k in range(config.segments):
        offset = k * (length + config.gap)
        # Word t lies in segment k, [s + offset, s + offset + length), if s is in (t - offset - length, t - offset].
        low = np.nextafter(times - offset - length, np.inf)
        high = np.nextafter(times - offset, np.inf)
        allowed = _intersection(allowed, _union(low, high))
    return allowed


def frame_times(begin: float, end: float, frames: int, rng: np.random.Generator | None = None) -> FloatArray:
    """One time in each of `frames` equal parts of [begin, end).

    Args:
        begin: seconds.
        end: seconds.
        frames: how many times.
        rng: draws the point in each part; None takes its centre.

    Returns:
        float64 [frames], seconds, increasing.
    """
    position: FloatArray | float = 0.5 if rng is None else rng.random(frames)
    return np.asarray(begin + (np.arange(frames) + position) * ((end - begin) / frames), dtype=np.float64)


def _times(words: Sequence[Word]) -> FloatArray:
    return np.array([word.start for word in words], dtype=np.float64)


def _union(low: FloatArray, high: FloatArray) -> FloatArray:
    """The union of [low, high) as disjoint intervals; both sorted."""
    if not len(low):
        return np.empty((0, 2))
    opens = np.r_[True, low[1:] > high[:-1]]  # high is sorted: the interval before reaches furthest
    closes = np.r_[opens[1:], True]
    return np.stack([low[opens], high[closes]], axis=1)


def _intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Points in both of two lists of disjoint sorted intervals, as such a list."""
    pieces, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        low, high = max(a[i, 0], b[j, 0]), min(a[i, 1], b[j, 1])
        if low < high:
            pieces.append((low, high))
        if a[i, 1] < b[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(pieces).reshape(-1, 2)


def _point(intervals: FloatArray, share: float) -> float:
    """The point that has `share` (0..1) of the intervals' total length before it."""
    sizes = intervals[:, 1] - intervals[:, 0]
    ends = np.cumsum(sizes)
    i = min(int(np.searchsorted(ends, share * ends[-1], side="right")), len(sizes) - 1)
    point = intervals[i, 1] - (ends[i] - share * ends[-1])
    return float(np.clip(point, intervals[i, 0], np.nextafter(intervals[i, 1], -np.inf)))


Style = Literal["resize", "area"]
_AREA_RATIO = (3 / 4, 4 / 3)  # width to height of a crop by area, as is usual
_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How frames are cut. The defaults are those of TVTS's code for video: short side 268, random crop of 224."""

    size: Annotated[int, Option("Pixels, height and width of what the model sees.")] = 224
    short_side: Annotated[
        int, Option("Pixels; the frame's shorter side is resized to this before cropping.", most=8_192)
    ] = 268
    style: Annotated[Style, Option("`area`: a random part of the frame instead (TVTS's code for CC3M images).")] = (
        "resize"
    )
    area: Annotated[tuple[float, float], Option("Share of the frame's area, for `area`.")] = (0.5, 1.0)
    flip: Annotated[
        float,
        Option(
            "Probability of mirroring; it turns left into right, so never where direction matters.", least=0, most=1
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.size <= self.short_side:
            raise UserError(f"size must be positive and fit into short_side {self.short_side}, got {self.size}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"area must be two increasing shares in (0, 1], got {self.area}")


def crop_clip(frames: NDArray[np.uint8], config: CropConfig, rng: np.random.Generator | None) -> Tensor:
    """Frames to the square that a model sees.

    Args:
        frames: uint8 [T, H, W, 3].
        config: how they are cut.
        rng: draws the crop; None takes the centre.

    Returns:
        uint8 [3, T, size, size].
    """
    planes = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)  # [T, 3, H, W]
    height, width = frames.shape[1:3]
    size = [config.size, config.size]
    if rng is not None and config.style == "area":
        planes = F.resized_crop(planes, *_area_box(height, width, config.area, rng), size, antialias=True)
    else:
        planes = F.resize(planes, _resized(height, width, config.short_side), antialias=True)
        free = [planes.shape[-2] - config.size, planes.shape[-1] - config.size]
        top, left = (side // 2 if rng is None else int(rng.integers(side + 1)) for side in free)
        planes = planes[:, :, top : top + config.size, left : left + config.size]
    if rng is not None and rng.random() < config.flip:
        planes = planes.flip(-1)
    clip: Tensor = planes.permute(1, 0, 2, 3).contiguous()  # [3, T, size, size]
    return clip


def _resized(height: int, width: int, short_side: int) -> list[int]:
    """Height and width with the shorter side at `short_side`, aspect ratio kept."""
    scale = short_side / min(height, width)
    return [max(round(height * scale), short_side), max(round(width * scale), short_side)]


def _area_box(
    height: int, width: int, area: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part; the whole frame if none fits."""
    for _ in range(_ATTEMPTS):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(_AREA_RATIO[0]), math.log(_AREA_RATIO[1])))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide
    return 0, 0, height, width
