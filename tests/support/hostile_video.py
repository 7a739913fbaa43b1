"""Healthy files that look cut, and damaged ones that look healthy; and what plain sequential decoding says of them."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.support.coded_video import VP9, X264_CLOSED, Writer, coded_picture, write_video
from tests.support.field_video import write_fields

VP8 = {"deadline": "realtime", "cpu-used": "8"}


def sequential(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Every frame [N, H, W, 3], by the plainest of loops, and how many of them FFmpeg flags as corrupt."""
    frames, corrupt = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            corrupt += frame.is_corrupt
            frames.append(frame.to_ndarray(format="rgb24"))
    return np.stack(frames), corrupt


def num_packets(path: Path) -> int:
    """Packets with something in them."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def write_cut(path: Path, *, skip: int = 30, num_frames: int = 90) -> Path:
    """An MP4 as `-c copy` cuts it: its edit list starts `skip` frames behind the keyframe that it has to store."""
    write_video(path, num_frames=num_frames, options=X264_CLOSED, gop=60)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # behind version, flags and the number of entries
    length, start = struct.unpack_from(">Ii", data, at)
    struct.pack_into(">Ii", data, at, length - 40 * skip, start + 512 * skip)
    path.write_bytes(data)
    return path


def write_hidden(path: Path, num_frames: int = 100) -> Path:
    """VP8 with alternate reference frames: in front of each fourth frame one that is decoded, but not shown."""
    shown = write_video(path.with_name("shown.webm"), "libvpx", num_frames, options=VP8, b_frames=0)
    with av.open(str(shown)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if not packet.size:
                continue
            data = bytes(packet)
            hidden = av.Packet(bytes([data[0] & ~0x10]) + data[1:])
            assert packet.pts is not None
            for each, pts in ((hidden, packet.pts - 20), (av.Packet(data), packet.pts)):
                if each is not hidden or (number % 4 == 3 and not packet.is_keyframe):
                    each.stream, each.time_base, each.is_keyframe = stream, packet.time_base, packet.is_keyframe
                    each.pts = each.dts = pts
                    container.mux(each)
    return path


def write_with_sound(path: Path, *, num_frames: int = 100, seconds: float = 6.0, tagged: bool = True) -> Path:
    """WebM of `num_frames` at 25 a second, and `seconds` of noise to hear.

    Without `tagged` no stream notes its own length, as in files of other writers than FFmpeg.
    """
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9", rate=25, options=VP9)
        audio = container.add_stream("libopus", rate=48000, bit_rate=16000, layout="mono")
        assert isinstance(video, VideoStream)
        assert isinstance(audio, AudioStream)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.gop_size = 12
        packets = []
        for index in range(num_frames):
            packets += video.encode(av.VideoFrame.from_ndarray(coded_picture(index), format="rgb24"))
        packets += video.encode(None)
        for number in range(round(seconds * 50)):
            sound = rng.integers(-9000, 9000, (1, 960), dtype=np.int16)
            block = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
            block.sample_rate, block.pts = 48000, 960 * number
            packets += audio.encode(block)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
            container.mux(packet)
    if not tagged:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"DARUTION"))
    return path


def write_sizes(path: Path, codec: str, options: dict[str, str]) -> Path:
    """20 frames of 96 x 64, then 20 of 64 x 48, in one stream."""
    parts = [path.with_name(f"{part}{path.suffix}") for part in ("first", "second")]
    for part, size in zip(parts, ((96, 64), (64, 48)), strict=True):
        write_video(part, codec, 20, size=size, options=options, b_frames=0)
    with av.open(str(parts[0])) as first, av.open(str(parts[1])) as second, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(first.streams.video[0])
        for offset, source in ((0, first), (800, second)):
            header = source.streams.video[0].codec_context.extradata if offset else None
            for packet in source.demux(video=0):
                if packet.size:
                    data = (_parameter_sets(header) if header and packet.is_keyframe else b"") + bytes(packet)
                    copy = av.Packet(data)
                    copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
                    assert packet.pts is not None
                    copy.pts = copy.dts = packet.pts + round(offset / 1000 / packet.time_base)
                    container.mux(copy)
    return path


def _parameter_sets(avcc: bytes) -> bytes:
    """What an H.264 configuration record holds, as it stands in front of a picture."""
    size = int.from_bytes(avcc[6:8], "big")
    sets = avcc[8 : 8 + size], avcc[8 + size + 3 :]
    return b"".join(len(data).to_bytes(4, "big") + data for data in sets)


def write_moving_noise(path: Path, num_frames: int = 60, *, seed: int = 0) -> Path:
    """H.264 of noise that moves sideways: enough bits in each packet for damage to fall into, the same each time."""
    noise = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"preset": "medium", "crf": "30", "x264-params": "mbtree=0"}
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(num_frames):
            picture = np.roll(noise, 3 * index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def damage(path: Path) -> int:
    """Flip bits inside a picture so that FFmpeg conceals it and carries on; how many frames it flags."""
    whole = path.read_bytes()
    count = len(sequential(path)[0])
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size > 200]
    for at, size in packets[1:]:
        assert at is not None
        data = bytearray(whole)
        for index in range(at + size // 2, at + size // 2 + 8):
            data[index] ^= 0x55
        path.write_bytes(data)
        try:
            frames, corrupt = sequential(path)
        except av.FFmpegError:
            continue
        if corrupt and len(frames) == count:
            return corrupt
    raise AssertionError("no damage that FFmpeg conceals")


def zero_middle(path: Path) -> None:
    """Zeros for 15 % of the file, from 45 % on."""
    data = bytearray(path.read_bytes())
    start, end = len(data) * 45 // 100, len(data) * 60 // 100
    data[start:end] = bytes(end - start)
    path.write_bytes(data)


def cut(path: Path, share: float = 0.6) -> None:
    """Leave the first part of the file only."""
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])


def _slow(frames: int) -> list[int]:
    return [int(time) for time in np.cumsum(np.random.default_rng(0).integers(5, 400, frames))]


HEALTHY: dict[str, tuple[Writer, int]] = {
    "edit-list-mp4": (lambda d: write_cut(d / "a.mp4"), 60),
    "sound-outlasts-webm": (lambda d: write_with_sound(d / "a.webm", num_frames=100, seconds=6), 100),
    "sound-outlasts-untagged-webm": (
        lambda d: write_with_sound(d / "a.webm", num_frames=100, seconds=6, tagged=False),
        100,
    ),
    "picture-outlasts-webm": (lambda d: write_with_sound(d / "a.webm", num_frames=100, seconds=2), 100),
    "vp8-alternate-reference-webm": (
        lambda d: write_hidden(d / "a.webm"),
        100,
    ),
    "fields-mp4": (lambda d: write_fields(d / "a.mp4"), 20),
    "fields-mkv": (lambda d: write_fields(d / "a.mkv"), 20),
    "fields-ts": (lambda d: write_fields(d / "a.ts"), 20),
    "slots-without-packets-avi": (
        lambda d: write_video(d / "a.avi", "mpeg4", 30, b_frames=0, times=_slow(30)),
        30,
    ),
    "live-mkv": (lambda d: write_video(d / "a.mkv", options=X264_CLOSED, muxer={"live": "1"}), 40),
}
"""(writer, frames) of each kind of healthy file that has been taken for a cut one."""


def _long(name: str, codec: str, options: dict[str, str], **muxer: str) -> Callable[[Path], Path]:
    return lambda d: write_video(d / name, codec, 250, options=options, muxer=muxer)


TO_CUT: dict[str, Writer] = {
    "mp4": _long("a.mp4", "libx264", X264_CLOSED, movflags="faststart"),
    "fragmented-mp4": _long("a.mp4", "libx264", X264_CLOSED, movflags="frag_keyframe+empty_moov"),
    "dash-mp4": _long("a.mp4", "libx264", X264_CLOSED, movflags="dash+frag_keyframe+empty_moov"),
    "mkv": _long("a.mkv", "libx264", X264_CLOSED),
    "vp9-webm": _long("a.webm", "libvpx-vp9", VP9),
    "vp8-webm": _long("a.webm", "libvpx", VP8),
    "sound-webm": lambda d: write_with_sound(d / "a.webm", num_frames=250, seconds=11),
    "untagged-webm": lambda d: write_with_sound(d / "a.webm", num_frames=250, seconds=11, tagged=False),
    "mpeg4-avi": _long("a.avi", "mpeg4", {}),
}
"""Files that stay recognisable when they are cut."""
