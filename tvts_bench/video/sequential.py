"""Exact decoding with PyAV: from the first packet to the last, converting only the frames that are asked for."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tvts_bench.video.container import PacketIndex, VideoDecodeError, open_video, require_complete
from tvts_bench.video.orientation import upright
from tvts_bench.video.sampling import IntArray, Sample

__all__ = ["VideoDecodeError", "decode"]


def decode(path: Path, index: PacketIndex, sample: Sample) -> tuple[NDArray[np.uint8], int, int]:
    """The frames [T, H, W, 3] that `sample` picks, how many the file really has, and how many of those are damaged.

    How many there are is known only at the end, but it is nearly always the number of packets or one less (MPEG-4 with
    packed B-frames, as in HMDB-51). What either would need is kept on the way, undecoded to RGB, so that one pass does.

    Raises:
        VideoDecodeError: nothing can be decoded, or much less than the packets promise.
    """
    likely = (max(index.num_frames, 1), max(index.num_frames - 1, 1))
    decoded = _decode_some(path, index, {i for n in likely for i in sample(n).tolist()})
    indices = sample(decoded.count)
    if not set(indices.tolist()) <= decoded.kept.keys():
        decoded = _decode_some(path, index, set(indices.tolist()))
    return _to_rgb(decoded.kept, indices), decoded.count, decoded.damaged


@dataclass(kw_only=True, eq=False)
class _Decoded:
    """What one pass through a file gave."""

    kept: dict[int, VideoFrame] = field(default_factory=dict)
    count: int = 0
    damaged: int = 0  # frames that are lost, or of which FFmpeg made up a part


def _decode_some(path: Path, index: PacketIndex, wanted: set[int]) -> _Decoded:
    """The `wanted` ones among all frames in the order they are shown."""
    decoded = _Decoded(damaged=index.lost)
    interlaced, broken = 0, False
    with open_video(path, decode=True, index=index.stream) as (container, stream):
        stream.codec_context.thread_count = 1  # one worker, one core
        try:
            for frame in container.decode(stream):
                if decoded.count in wanted:
                    decoded.kept[decoded.count] = frame
                decoded.count += 1
                decoded.damaged += frame.is_corrupt
                interlaced += frame.interlaced_frame
        except av.FFmpegError:
            broken = True  # a packet that cannot be decoded: what is behind it could only be guessed
    # Each field of an interlaced frame may be a packet of its own.
    explained = decoded.count if broken else min(decoded.count + interlaced, max(decoded.count, index.num_frames))
    require_complete(path, explained, index.num_frames, broken=broken)
    if broken:
        decoded.damaged += max(1, index.num_frames - decoded.count)
    return decoded


def _to_rgb(kept: dict[int, VideoFrame], indices: IntArray) -> NDArray[np.uint8]:
    """Frames `indices` as one array [T, H, W, 3], upright, all of the size of the earliest."""
    first = kept[int(indices.min())]
    pictures: dict[int, NDArray[np.uint8]] = {}
    converter = VideoReformatter()  # one for all: a frame's own, with a thread a core, costs ten times the decoding
    for i in set(indices.tolist()):
        frame = converter.reformat(kept[i], first.width, first.height, "rgb24", threads=1)
        pictures[i] = upright(frame.to_ndarray(), kept[i])
    return np.stack([pictures[i] for i in indices.tolist()])
