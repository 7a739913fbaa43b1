"""Video files whose every frame carries its own index as eight big black or white blocks: exactness is read off."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def coded_picture(index: int, width: int = 96, height: int = 64) -> Picture:
    """[height, width, 3]: bit b of `index` is the block in row b // 4, column b % 4, white if set."""
    bits = [255 * (index >> bit & 1) for bit in range(8)]
    rows = np.arange(height)[:, None] * 2 // height
    columns = np.arange(width)[None, :] * 4 // width
    grey = np.array(bits, dtype=np.uint8)[rows * 4 + columns]
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_code(picture: Picture) -> int:
    """The index a picture carries, by the brightness of its blocks' centres."""
    height, width = picture.shape[:2]
    code = 0
    for bit in range(8):
        y, x = (2 * (bit // 4) + 1) * height // 4, (2 * (bit % 4) + 1) * width // 8
        code |= int(picture[y, x].mean() > 127) << bit
    return code


def codes(frames: NDArray[np.uint8]) -> list[int]:
    """`read_code` of frames [T, H, W, 3]."""
    return [read_code(frame) for frame in frames]


def write_video(
    path: Path,
    codec: str = "libx264",
    num_frames: int = 40,
    *,
    size: tuple[int, int] = (96, 64),
    gop: int = 12,
    b_frames: int = 2,
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    rotate: int = 0,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """A file of `num_frames` coded frames at 25 a second, or shown at `times` (milliseconds)."""
    with av.open(str(path), "w", options=dict(muxer or {})) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=25, options=dict(options or {}))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        if rotate:
            stream.set_display_rotation(rotate)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(coded_picture(index, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _x264(**extra: str) -> dict[str, str]:
    parameters = {"b-adapt": "0", "scenecut": "0", **extra}
    return {"preset": "ultrafast", "x264-params": ":".join(f"{k}={v}" for k, v in parameters.items())}


X264_CLOSED, X264_OPEN, X264_REFRESH = _x264(), _x264(**{"open-gop": "1"}), _x264(**{"intra-refresh": "1"})
VP9 = {"deadline": "realtime", "cpu-used": "8"}
VP9_HIDDEN = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}


def write_packed(path: Path, *, junk: int = 0) -> Path:
    """MPEG-4 as DivX packs it: a B-frame in one packet with the P-frame before it, then a packet that says nothing.

    `junk` more packets, of one byte each, yield no frame but count in the header: HMDB-51's files have one.
    """
    vop, divx, nothing = b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p", b"\0\0\1\xb6\x54\0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, 1
        pictures = [av.VideoFrame.from_ndarray(coded_picture(i), format="rgb24") for i in range(41)]
        coded = [p for picture in [*pictures, None] for p in stream.encode(picture) if p.size]
        packets: list[tuple[bytes, bool]] = []
        for packet in coded:
            data = bytes(packet)
            if data[data.index(vop) + 4] >> 6 == 2:  # a B-frame
                packets[-1] = (packets[-1][0] + data, packets[-1][1])
                packets.append((nothing, False))
            else:
                packets.append((data, packet.is_keyframe))
        head = packets[0][0].index(vop)
        packets[0] = (packets[0][0][:head] + divx + packets[0][0][head:], True)
        packets[1:1] = [(b"\x7f", False)] * junk
        for time, (data, is_keyframe) in enumerate(packets):
            packed = av.Packet(data)
            packed.stream, packed.is_keyframe = stream, is_keyframe
            packed.pts = packed.dts = time
            packed.time_base = Fraction(1, 25)
            container.mux(packed)
    return path


Writer = Callable[[Path], Path]
EVERY_CONTAINER: dict[str, Writer] = {
    "h264-mp4": lambda d: write_video(d / "a.mp4", options=X264_CLOSED),
    "h264-one-gop-mp4": lambda d: write_video(d / "a.mp4", options=X264_CLOSED, gop=300),
    "h264-open-gop-mp4": lambda d: write_video(d / "a.mp4", options=X264_OPEN),
    "h264-open-gop-mkv": lambda d: write_video(d / "a.mkv", options=X264_OPEN),
    "h264-refresh-mkv": lambda d: write_video(d / "a.mkv", options=X264_REFRESH, b_frames=0),
    "h264-mkv": lambda d: write_video(d / "a.mkv", options=X264_CLOSED),
    "h264-avi": lambda d: write_video(d / "a.avi", options=X264_CLOSED, b_frames=0),
    "h264-ts": lambda d: write_video(d / "a.ts", options=X264_CLOSED),
    "h264-fragmented-mp4": lambda d: write_video(
        d / "a.mp4", options=X264_CLOSED, muxer={"movflags": "frag_keyframe+empty_moov"}
    ),
    "hevc-mp4": lambda d: write_video(
        d / "a.mp4", "libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"}
    ),
    "vp9-webm": lambda d: write_video(d / "a.webm", "libvpx-vp9", options=VP9),
    "vp9-hidden-webm": lambda d: write_video(d / "a.webm", "libvpx-vp9", options=VP9_HIDDEN),
    "mpeg4-avi": lambda d: write_video(d / "a.avi", "mpeg4", b_frames=0),
    "mpeg4-b-avi": lambda d: write_video(d / "a.avi", "mpeg4"),
    "mpeg4-packed-avi": lambda d: write_packed(d / "a.avi"),
    "mpeg4-b-mp4": lambda d: write_video(d / "a.mp4", "mpeg4"),
    "mjpeg-avi": lambda d: write_video(d / "a.avi", "mjpeg", pix_fmt="yuvj420p", b_frames=0),
}
"""One writer for each way of storing pictures that readers are known to stumble over."""
