"""Frames to the bytes of a real video file, in the containers and codecs that the real data sets come in."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Format:
    """A container and how its stream is encoded."""

    container: str  # FFmpeg's name of the muxer
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    gop: int  # frames from one key frame to the next, at most
    b_frames: int = 0


FORMATS: Mapping[str, Format] = {
    ".webm": Format(
        container="webm",
        codec="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "24", "b": "0"},
        gop=24,
    ),
    ".mp4": Format(container="mp4", codec="libx264", options={"preset": "veryfast", "crf": "20"}, gop=24, b_frames=2),
    ".avi": Format(container="avi", codec="mpeg4", options={"qscale": "4", "flags": "+qscale"}, gop=12, b_frames=2),
}
"""By suffix: VP9 as Something-Something, h264 with B-frames as Kinetics, MPEG-4 with B-frames and several groups of
pictures as UCF-101 and HMDB-51."""


def encode(frames: NDArray[np.uint8], fps: int, suffix: str) -> bytes:
    """The bytes of a video file. `frames` uint8 RGB [T, H, W, 3] with even H and W; `suffix` is a key of FORMATS."""
    form = FORMATS[suffix]
    file = io.BytesIO()
    with av.open(file, "w", format=form.container, options={"fflags": "+bitexact"}) as container:
        stream = cast(VideoStream, container.add_stream(form.codec, rate=fps, options=dict(form.options)))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # frames this small are encoded slower by many threads
        stream.codec_context.gop_size = form.gop
        stream.codec_context.max_b_frames = form.b_frames
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
