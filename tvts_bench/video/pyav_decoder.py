"""Exact decoding with PyAV: from the first packet to the last, converting only the frames that are wanted."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tvts_bench.video.headers import signs_of
from tvts_bench.video.packet_index import PacketIndex, open_video, require_complete
from tvts_bench.video.sampling import Sample


def decode(path: Path, index: PacketIndex, sample: Sample) -> tuple[NDArray[np.uint8], int, int]:
    """Decode the file from its start to its end, in one pass where that is possible.

    How many frames there are is known only at the end, but it is nearly always the number of packets or one less
    (MPEG-4 with packed B-frames, as in HMDB-51). What either would need is kept on the way, undecoded to RGB.

    Args:
        path: The video.
        index: Of its packets.
        sample: From the number of frames to the indices of those wanted.

    Returns:
        The frames [T, H, W, 3], how many the file really has, and how many of those are damaged.

    Raises:
        VideoDecodeError: Nothing can be decoded, or much less than the packets promise.
    """
    likely = (max(index.num_frames, 1), max(index.num_frames - 1, 1))
    decoded = _decode_some(path, index, {i for n in likely for i in sample(n).tolist()})
    indices: list[int] = sample(decoded.count).tolist()
    if not set(indices) <= decoded.kept.keys():
        decoded = _decode_some(path, index, set(indices))
    return to_rgb([decoded.kept[i] for i in indices], decoded.kept[min(indices)]), decoded.count, decoded.damaged


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


def to_rgb(frames: list[VideoFrame], like: VideoFrame) -> NDArray[np.uint8]:
    """Frames as one array [T, H, W, 3], upright, all of the size of `like`; one that is repeated is converted once."""
    converter = VideoReformatter()  # one for all: a frame's own, with a thread per core, costs ten times the decoding
    pictures: dict[int, NDArray[np.uint8]] = {}
    for frame in frames:
        if id(frame) not in pictures:
            rgb = converter.reformat(frame, like.width, like.height, "rgb24", threads=1)
            pictures[id(frame)] = _upright(rgb.to_ndarray(), frame)
    return np.stack([pictures[id(frame)] for frame in frames])


def _upright(picture: NDArray[Any], frame: VideoFrame) -> NDArray[np.uint8]:
    """`picture` uint8 [H, W, 3] of `frame` as it is to be shown; a view. PyAV itself only reports the matrix.

    Turned by the nearest multiple of 90 degrees, and mirrored, as `ffmpeg` does it on its own.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    assert isinstance(matrix, Buffer)
    a, b, c, d = signs_of(struct.unpack_from("=5i", bytes(matrix)))
    if not a:
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[::d, ::a]
