"""Which frames make a clip: index arithmetic only. No file, no decoder; generators are passed in.

Ten frames, four of them (T = 4), one temporal view:

    segments   |. x .|. x|. . x|. x|      T equal segments, the middle frame of each (or a random point of it)
    dense      . . x . x . x . x .        every stride-th frame (2) of a window in the middle (or anywhere, at random)
    endpoints  x . . x . . x . . x        evenly spread from the first frame to the last
"""

import hashlib
from collections.abc import Callable
from typing import assert_never

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from tvts_bench.video.spec import ClipSpec

IntArray = NDArray[np.int64]
Sample = Callable[[int], IntArray]
"""From the number of frames of a video to the indices wanted of it; called again, it answers the same."""


def segment_indices(num_frames: int, t: int, rng: Generator | None = None, offset: float = 0.5) -> IntArray:
    """One index for each of `t` equal segments. Shape [t].

    With fewer frames than segments indices repeat: of 3 frames, `t=4` takes 0 1 1 2.

    Args:
        num_frames: Of the video.
        t: Segments.
        rng: Draws a point of each segment; None takes the same of all.
        offset: Which one, 0 (its start) to 1 (its end).
    """
    within = offset if rng is None else rng.random(t)
    return np.minimum((np.arange(t) + within) * num_frames / t, num_frames - 1).astype(np.int64)


def dense_indices(num_frames: int, t: int, stride: int, rng: Generator | None = None, offset: float = 0.5) -> IntArray:
    """Every `stride`-th frame of a window of (t - 1) * stride + 1 frames. Shape [t].

    A window longer than the video starts at its first frame and repeats the last one.

    Args:
        num_frames: Of the video.
        t: Frames of the clip.
        stride: Frames from one to the next.
        rng: Draws where the window lies; None takes it at `offset`.
        offset: How far along the video it lies, 0 to 1.
    """
    slack = max(num_frames - ((t - 1) * stride + 1), 0)
    start = int(offset * slack) if rng is None else int(rng.integers(slack + 1))
    return np.minimum(start + np.arange(t, dtype=np.int64) * stride, num_frames - 1)


def endpoint_indices(num_frames: int, t: int) -> IntArray:
    """`t` frames evenly spread from the first to the last, both included, rounded down. Shape [t].

    With fewer frames than that indices repeat: of 3 frames, `t=4` takes 0 0 1 2. One frame is the first.
    """
    return np.linspace(0, num_frames - 1, t).astype(np.int64)


def clip_indices(num_frames: int, spec: ClipSpec, record_id: str) -> IntArray:
    """Frame indices of every temporal view, in the order they are fed. Shape [temporal_views, T].

    View v of V is at (v + 1/2) / V into its segment, or v / (V - 1) of the way along the video for dense windows; with
    `position="random"` each view draws its own. Random numbers come from the spec's seed and the record's id alone, so
    a clip is the same in any order and any process.

    Args:
        num_frames: Of the video.
        spec: How they are chosen.
        record_id: Of the video.
    """
    rng = clip_rng(spec, record_id)
    views = [_view_indices(num_frames, spec, view, rng) for view in range(spec.temporal_views)]
    return np.stack([_reorder(indices, spec, rng) for indices in views])


def clip_rng(spec: ClipSpec, name: str) -> Generator:
    """What one clip's draws come from: the spec's seed, and a name that tells them from all others'."""
    seed = hashlib.sha256(f"{spec.seed}/{name}".encode(errors="surrogateescape")).digest()
    return Generator(PCG64(np.frombuffer(seed, dtype="<u4")))  # by name: numpy may change what its default is


def _view_indices(num_frames: int, spec: ClipSpec, view: int, rng: Generator) -> IntArray:
    random = rng if spec.position == "random" else None
    match spec.sampling:
        case "segments":
            return segment_indices(num_frames, spec.num_frames, random, (view + 0.5) / spec.temporal_views)
        case "dense":
            offset = view / (spec.temporal_views - 1) if spec.temporal_views > 1 else 0.5
            return dense_indices(num_frames, spec.num_frames, spec.stride, random, offset)
        case "endpoints":
            return endpoint_indices(num_frames, spec.num_frames)
    assert_never(spec.sampling)


def _reorder(indices: IntArray, spec: ClipSpec, rng: Generator) -> IntArray:
    """The temporal controls: the same frames backwards or in random order, or the middle one over and over."""
    match spec.frame_order:
        case "forward":
            return indices
        case "reversed":
            return indices[::-1]
        case "shuffled":
            return rng.permutation(indices)
        case "single":
            return np.full_like(indices, indices[len(indices) // 2])
