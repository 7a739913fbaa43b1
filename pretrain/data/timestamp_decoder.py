"""Frames of a long video at given times, exactly, without decoding what is before them.

The frame at time t is the one a player shows: the last whose timestamp is not after t (before the first frame, the
first). Time 0 is the first frame. MP4 and Matroska are entered at the keyframe before the first time, which is checked
after the jump; where that cannot be proven (another container, a frame without a timestamp, a jump that landed too
late) the file is decoded from its start instead.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pretrain.data.clip_sampling import FloatArray
from tvts_bench.video.packet_index import MATROSKA, MP4, VideoDecodeError, open_video, require_file
from tvts_bench.video.pyav_decoder import to_rgb

_WORTH_A_JUMP = 1.0  # seconds: before that, decoding from the start costs no more than a jump
_REORDERED = 16  # frames, at most, that a codec stores out of order
_LAST_FRAME = 1.0  # seconds that a video's last frame may stand in for frames its header promises behind it


def video_duration(path: Path) -> float:
    """Seconds of the video by its header, nothing decoded.

    Raises:
        VideoDecodeError: not a readable video, or its header does not say.
    """
    require_file(path)
    with open_video(path, decode=False) as (container, stream):
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return container.duration / av.time_base
    raise VideoDecodeError(path, "its header does not say how long it is")


def frames_at(path: Path, times: FloatArray) -> NDArray[np.uint8]:
    """The frames shown at `times`, seconds in increasing order: uint8 RGB [T, H, W, 3], upright.

    Raises:
        VideoDecodeError: not a readable video, damaged, or it ends more than a second before the last time.
    """
    assert len(times)
    assert (np.diff(times) >= 0).all(), times
    require_file(path)
    with open_video(path, decode=True) as (container, stream):
        shown = _after_jump(path, container, stream, times)
    if shown is None:
        with open_video(path, decode=True) as (container, stream):
            shown = _from_start(path, container, stream, times)
    return to_rgb(shown, shown[0])


def _after_jump(
    path: Path, container: InputContainer, stream: VideoStream, times: FloatArray
) -> list[VideoFrame] | None:
    """The frames shown at `times`, entered at a keyframe; None where that is not proven to be exact."""
    if container.format.name not in (MP4, MATROSKA) or stream.start_time is None or stream.time_base is None:
        return None
    if times[0] < _WORTH_A_JUMP:
        return None
    stream.codec_context.thread_count = 1  # one worker, one core
    target = stream.start_time + int(times[0] / stream.time_base)
    try:
        container.seek(target, stream=stream, backward=True)
        frames = container.decode(stream)
        entry = next((frame for frame in frames if frame.key_frame), None)
        if entry is None or entry.pts is None or entry.pts > target:
            return None
        # Frames stored after the keyframe but shown before it may lack what they refer to: they are not looked at.
        first = entry.pts
        after = (frame for frame in frames if frame.pts is None or frame.pts > first)
        shown, last = _collect(_timed(itertools.chain((entry,), after), stream, guess=False), times)
    except (av.FFmpegError, _NoTimestampError):
        return None
    return _complete(path, shown, last, times)


def _from_start(path: Path, container: InputContainer, stream: VideoStream, times: FloatArray) -> list[VideoFrame]:
    stream.codec_context.thread_count = 1
    try:
        shown, last = _collect(_timed(container.decode(stream), stream, guess=True), times)
    except av.FFmpegError as error:
        raise VideoDecodeError(path, f"damaged somewhere before {times[-1]:.1f} s") from error
    return _complete(path, shown, last, times)


def _complete(
    path: Path, shown: list[VideoFrame], last: tuple[float, VideoFrame] | None, times: FloatArray
) -> list[VideoFrame]:
    """`shown` and, for times behind the last frame, that frame."""
    if last is None:
        raise VideoDecodeError(path, "no frame of it can be decoded")
    time, frame = last
    if len(shown) < len(times) and times[-1] - time > _LAST_FRAME:
        raise VideoDecodeError(path, f"it ends at {time:.1f} s, but its header promises a frame at {times[-1]:.1f} s")
    return shown + [frame] * (len(times) - len(shown))


class _NoTimestampError(Exception):
    """A frame that does not say when it is shown."""


def _timed(frames: Iterable[VideoFrame], stream: VideoStream, *, guess: bool) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds from the start of the stream, frame); without timestamps, if `guess`, what the frame rate says."""
    is_exact = stream.container.format.name in (MP4, MATROSKA)
    # Other containers' start is that of the first packet stored, which need not be shown first.
    zero = stream.start_time if is_exact else None
    base = stream.time_base  # read once: a new Fraction for each frame costs as much as decoding a small one
    for number, (pts, frame) in enumerate(((f.pts, f) for f in frames) if is_exact else _put_in_order(frames)):
        if pts is None or base is None:
            if not guess:
                raise _NoTimestampError
            yield number / float(stream.average_rate or stream.guessed_rate or 25), frame
            continue
        zero = pts if zero is None else zero
        yield (pts - zero) * base.numerator / base.denominator, frame


def _put_in_order(frames: Iterable[VideoFrame]) -> Iterator[tuple[int | None, VideoFrame]]:
    """(timestamp, frame): the k-th frame shown gets the k-th smallest timestamp.

    AVI stores the order of decoding only; with B-frames FFmpeg's timestamps for it are the right ones in wrong order.
    """
    waiting: deque[VideoFrame] = deque()
    stamps: list[int] = []
    for frame in itertools.chain(frames, itertools.repeat(None)):
        if frame is not None:
            waiting.append(frame)
            if frame.pts is not None:
                heapq.heappush(stamps, frame.pts)
        if len(waiting) > _REORDERED or frame is None:
            if not waiting:
                return
            yield heapq.heappop(stamps) if stamps else None, waiting.popleft()


def _collect(
    timed: Iterator[tuple[float, VideoFrame]], times: FloatArray
) -> tuple[list[VideoFrame], tuple[float, VideoFrame] | None]:
    """The frames shown at `times` as far as a later frame proves it, and the last (seconds, frame) looked at."""
    shown: list[VideoFrame] = []
    last: tuple[float, VideoFrame] | None = None
    for time, frame in timed:
        while len(shown) < len(times) and last is not None and time > times[len(shown)]:
            shown.append(last[1])
        last = (time, frame)
        if len(shown) == len(times):
            break
    return shown, last
