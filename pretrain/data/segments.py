"""Which seconds of a video are a sample: K segments of l seconds, 1 s apart, and M frames over them all.

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
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.data.transcripts import Word
from tvts_bench.errors import UserError

FloatArray = NDArray[np.float64]

LENGTH_CHANGED = "length_changed"  # no start did for the length drawn
SHORTENED = "segments_shortened"  # the video is shorter than the shortest span
REDRAWN = "start_redrawn"  # the first start drawn left a segment without words
EVENTS = (LENGTH_CHANGED, SHORTENED, REDRAWN)

NO_WORDS = "no words"
TOO_SHORT = "video too short"
NO_START = "no start at which every segment has words"


class SegmentConfigError(UserError):
    """A value of the sampling configuration that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How samples are cut out of a narrated video. The defaults are the paper's."""

    segments: int = 4  # K, transcript segments a sample
    lengths: tuple[float, ...] = (3.0, 4.0, 5.0)  # l, seconds a segment, one drawn for each sample
    gap: float = 1.0  # seconds between segments
    min_length: float = 1.0  # seconds that segments of a short video may be shortened to

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise SegmentConfigError(f"segments must be at least 1, got {self.segments}")
        if not self.lengths or min(self.lengths) <= 0:
            raise SegmentConfigError(f"lengths must be one or more positive numbers of seconds, got {self.lengths}")
        if self.gap < 0:
            raise SegmentConfigError(f"gap must not be negative, got {self.gap}")
        if not 0 < self.min_length <= min(self.lengths):
            raise SegmentConfigError(f"min_length must be in (0, {min(self.lengths):g}], got {self.min_length}")

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
class Cut:
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


def words_inside(words: Sequence[Word], duration: float) -> tuple[Word, ...]:
    """The words that begin before the video ends."""
    return tuple(word for word in words if word.start < duration)


def usable(words: Sequence[Word], duration: float, config: SegmentConfig) -> str | None:
    """None if a sample can be cut from a video of `duration` seconds with these `words`, else the reason."""
    if not words:
        return NO_WORDS
    lengths = config.fitting(duration)
    if not lengths:
        return TOO_SHORT
    times = _times(words)
    if not any(len(valid_starts(times, duration, length, config)) for length in lengths):
        return NO_START
    return None


def draw_cut(words: Sequence[Word], duration: float, config: SegmentConfig, rng: np.random.Generator) -> Cut:
    """A random sample of a video that is `usable`. `words` sorted by start; `duration` in seconds."""
    lengths, times = config.fitting(duration), _times(words)
    drawn = float(lengths[rng.integers(len(lengths))])
    events: Counter[str] = Counter()
    if drawn not in config.lengths:
        events[SHORTENED] = 1
    others = sorted((length for length in lengths if length != drawn), reverse=True)
    for length in (drawn, *others):
        allowed = valid_starts(times, duration, length, config)
        if len(allowed):
            break
    else:
        raise AssertionError("the video is not usable")
    if length != drawn:
        events[LENGTH_CHANGED] = 1
    start = float(rng.random()) * max(duration - config.span(length), 0.0)
    if not ((allowed[:, 0] <= start) & (start < allowed[:, 1])).any():
        events[REDRAWN] = 1
        start = _point(allowed, float(rng.random()))
    stride = length + config.gap
    return Cut(starts=tuple(start + k * stride for k in range(config.segments)), length=length, events=events)


def valid_starts(times: FloatArray, duration: float, length: float, config: SegmentConfig) -> FloatArray:
    """Starts at which every segment has a word and the span ends by `duration`, as disjoint [from, to) in order.

    `times` are the sorted starts of words. Shape [n, 2], seconds; n = 0 if there is none.
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
    """One time in each of `frames` equal parts of [begin, end): random if `rng` is given, else the centre.

    Seconds, increasing. Shape [frames].
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
