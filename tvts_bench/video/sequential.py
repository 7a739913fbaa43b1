"""Exact decoding with PyAV: from the first packet to the last, converting only the frames that are asked for."""

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tvts_bench.video.container import PacketIndex, VideoDecodeError, open_video
from tvts_bench.video.sampling import IntArray, Sample


def decode(path: Path, index: PacketIndex, sample: Sample) -> tuple[NDArray[np.uint8], int]:
    """The frames [T, H, W, 3] that `sample` picks, and how many the file really has.

    How many there are is known only at the end, but it is nearly always the number of packets or one less (MPEG-4 with
    packed B-frames, as in HMDB-51). What either would need is kept on the way, undecoded to RGB, so that one pass does.

    Raises:
        VideoDecodeError: nothing can be decoded, or much less than the header promises.
    """
    likely = (index.num_packets, max(index.num_packets - 1, 1))
    kept, count = _decode_some(path, index, {i for n in likely for i in sample(n).tolist()})
    indices = sample(count)
    if not set(indices.tolist()) <= kept.keys():
        kept, _ = _decode_some(path, index, set(indices.tolist()))
    return _to_rgb(kept, indices), count


def _decode_some(path: Path, index: PacketIndex, wanted: set[int]) -> tuple[dict[int, av.VideoFrame], int]:
    """The `wanted` ones among all frames in the order they are shown, and the number of all."""
    kept: dict[int, av.VideoFrame] = {}
    count, broken = 0, False
    with open_video(path, decode=True, index=index.stream) as (container, stream):
        stream.codec_context.thread_count = 1  # one worker, one core
        try:
            for frame in container.decode(stream):
                if count in wanted:
                    kept[count] = frame
                count += 1
        except av.FFmpegError:
            broken = True  # a packet that cannot be decoded: what is behind it could only be guessed
    require_complete(path, count, max(index.header_frames, index.num_packets), broken=broken)
    return kept, count


def require_complete(path: Path, count: int, promised: int, *, broken: bool = False) -> None:
    """Refuse a video of which more than 5 % (and more than 3 frames) of what was promised is missing.

    A frame or a few too many in a header are common (one in every HMDB-51 file) and harmless: they are not counted.
    """
    if count == 0:
        raise VideoDecodeError(path, f"none of its {promised} frames can be decoded")
    if promised - count > max(3, promised // 20):
        what = "corrupt" if broken else "truncated"
        raise VideoDecodeError(path, f"{what}: header says {promised} frames, {count} can be decoded")


def _to_rgb(kept: dict[int, av.VideoFrame], indices: IntArray) -> NDArray[np.uint8]:
    """Frames `indices` as one array [T, H, W, 3], upright, all of the size of the earliest."""
    first = kept[int(indices.min())]
    pictures: dict[int, NDArray[np.uint8]] = {}
    converter = VideoReformatter()  # one for all: a frame's own, with a thread a core, costs ten times the decoding
    for i in set(indices.tolist()):
        frame = converter.reformat(kept[i], first.width, first.height, "rgb24", threads=1)
        picture = frame.to_ndarray()
        pictures[i] = np.rot90(picture, round(kept[i].rotation / 90))  # PyAV only reports how the camera was held
    return np.stack([pictures[i] for i in indices.tolist()])
