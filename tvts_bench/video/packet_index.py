"""What a video file says of itself before anything is decoded: its packets, and whether decord's seeking suits them.

decord takes frame i to be the one with the i-th smallest timestamp and seeks to what the container calls a keyframe.
That is exact only where packets and pictures are one to one and nothing after a keyframe needs a picture before it:

    stored    I0 P3 B1 B2 | I6 B4 B5      an open GOP: B4 and B5 are stored after I6, shown before it and need P3,
    shown      0  1  2  3    4  5  6      so a reader that seeks to I6 loses or garbles them

A file whose packets do not prove this is decoded from its start instead (`pyav_decoder`), and so is one of which decord
would make other bytes: interlaced, of odd height, mirrored, or with a format or size that changes.

Not every packet is a frame. Those in front of the cut of an edit list are decoded and dropped, alternate reference
frames are never shown, and two fields may make one frame; so what a container promises is packets, and whether they are
all there is settled before anything is decoded.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from tvts_bench.errors import UserError
from tvts_bench.regular_file import is_transient
from tvts_bench.video.headers import (
    VideoPacket,
    broken_fragment,
    decord_turns,
    every_keyframe_starts_afresh,
    is_hidden,
    matroska_structure,
)

_Stream = TypeVar("_Stream", bound=Stream)

# No playlists, text renderers or network formats: a file handed in must not make FFmpeg open others.
MP4, MATROSKA, AVI = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"  # names FFmpeg gives the three families
CONTAINERS = f"{MP4},{MATROSKA},{AVI},mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,flv,asf,ogg,rm,swf,dv,mxf,nut,gif"
# decord seeks exactly in H.264 and VP9, as far as is known; these are their profiles of 8-bit 4:2:0.
SEEKABLE_PROFILES = {
    "h264": {"Baseline", "Constrained Baseline", "Main", "Extended", "High", "Progressive High", "Constrained High"},
    "vp9": {"Profile 0"},
}


class VideoDecodeError(UserError):
    """A video that cannot be read: one sentence that names the file and says why."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.problem}"

    @property
    def transient(self) -> bool:
        """Whether the system is at fault and not the file. Known where it is raised, not in another process."""
        return self.__cause__ is not None and _is_of_the_system(self.__cause__)


def _is_of_the_system(error: BaseException) -> bool:
    """As `is_transient`, but FFmpeg says EIO of damaged files, too; whoever hashes the file first hears of the disk."""
    return is_transient(error) and not (isinstance(error, av.FFmpegError) and error.errno == errno.EIO)


@dataclass(frozen=True, kw_only=True)
class PacketIndex:
    """What one pass over a file's packets tells, nothing decoded."""

    stream: int  # index of the video stream among all streams
    num_frames: int  # packets whose picture is to be shown; mostly, not always, the number of frames
    lost: int  # packets that the file's index lists and that are not there, where it has one
    seekable: bool  # whether decord reads this file exactly


def read_index(path: Path) -> PacketIndex:
    """Index the packets of the file's video stream, in a millisecond or two.

    With several video streams it is the one FFmpeg deems best; cover pictures do not count.

    Raises:
        VideoDecodeError: Not a readable file, not a video, no video stream, no packet in it, or it is cut off.
    """
    require_file(path)
    with open_video(path, decode=False) as (container, stream):
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        packets = [packet for packet in _readable(container.demux(stream)) if packet.size]
        if not packets:
            raise VideoDecodeError(path, "its video stream is empty")
        codec = stream.codec_context.codec.canonical_name
        shown = [packet for packet in packets if not packet.is_discard and not is_hidden(codec, packet)]
        seekable = len(shown) == len(packets) and _is_seekable(path, container, stream, packets)
        _require_whole(path, container, stream, packets)
        return PacketIndex(
            stream=stream.index,
            num_frames=len(shown),
            lost=max(0, len(stream.index_entries) - len(packets)) if container.format.name in (MP4, AVI) else 0,
            seekable=seekable,
        )


def require_complete(path: Path, count: int, promised: int, *, broken: bool = False) -> None:
    """Refuse a video of which more than 5 % (and more than 3 frames) of what was promised is missing.

    A frame or a few too many in a header are common (one in every HMDB-51 file) and harmless: they are not counted.

    Args:
        path: The video, for the message.
        count: Frames, or packets, that are there.
        promised: How many there should be.
        broken: Whether decoding ended at one that is damaged.

    Raises:
        VideoDecodeError: Too much is missing.
    """
    if count == 0:
        raise VideoDecodeError(path, f"none of its {promised} frames can be decoded")
    if promised - count > max(3, promised // 20):
        what = "corrupt" if broken else "truncated"
        raise VideoDecodeError(path, f"{what}: header says {promised} frames, {count} can be decoded")


def _require_whole(path: Path, container: InputContainer, stream: VideoStream, packets: list[VideoPacket]) -> None:
    """Refuse a file that lacks packets of its video stream."""
    promised, broken, total = stream.frames, None, path.stat().st_size
    if container.format.name == MP4:
        promised, broken = len(stream.index_entries), broken_fragment(path)
    elif container.format.name == AVI:
        promised = _packets_by_slots(stream, packets)
    elif container.format.name == MATROSKA:
        broken, segment_end = matroska_structure(path)
        last = packets[-1]
        stops_early = last.pos is not None and last.pos + last.size < 0.95 * total
        is_cut = stops_early or (segment_end is not None and segment_end > total)
        promised = _packets_by_duration(container, stream, packets) if is_cut else 0
    if broken is not None:
        raise VideoDecodeError(path, f"truncated or corrupt: its structure breaks off at byte {broken:,} of {total:,}")
    require_complete(path, len(packets), promised)


def _packets_by_slots(stream: VideoStream, packets: Sequence[VideoPacket]) -> int:
    """How many packets the stream of an AVI file once had: the entries of its index, which is lost with its end.

    The header counts slots, and one without a packet means "the last frame again".
    """
    reached = max((packet.dts for packet in packets if packet.dts is not None), default=stream.frames - 1) + 1
    by_header = round(len(packets) * stream.frames / reached) if reached > 0 else stream.frames
    return max(len(stream.index_entries), by_header)


def _packets_by_duration(container: InputContainer, stream: VideoStream, packets: Sequence[VideoPacket]) -> int:
    """How many packets the stream of a Matroska file once had, which keeps no count, by how long it was. 0: unknown.

    Most writers note each stream's length in a tag. Where there is none, only the whole file's length is known, which
    is that of its longest stream: it counts only if no stream reaches it.
    """
    end = max(_end(packet) for packet in packets)
    length = _tagged_length(stream)
    if length is None:
        for other in container.streams:
            other.discard = Discard.default
        container.seek(0)
        reached = max((_end(packet) for packet in _readable(container.demux()) if packet.size), default=end)
        length = end * (container.duration or 0) / av.time_base / reached if reached > 0 else 0.0
    return round(len(packets) * length / end) if end > 0 else 0


def _end(packet: "Packet[Any]") -> float:
    """Seconds."""
    return float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _tagged_length(stream: VideoStream) -> float | None:
    """Seconds, by the stream's own tag: "00:01:10.250000000"."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", "").strip("\0 "))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def _readable(packets: "Iterator[Packet[_Stream]]") -> "Iterator[Packet[_Stream]]":
    """Packets up to the end or to the first that cannot be read; how many were promised is checked later."""
    with suppress(av.FFmpegError):
        yield from packets


def require_file(path: Path) -> None:
    """Refuse what is not a readable file with something in it; opening a named pipe would block for ever.

    Raises:
        VideoDecodeError: Missing, a folder, no permission, not a regular file, or empty.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise VideoDecodeError(path, "it is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise VideoDecodeError(path, "it is not a regular file")
        if status.st_size == 0:
            raise VideoDecodeError(path, "the file is empty (0 bytes)")
        with path.open("rb"):
            pass
    except OSError as error:
        common = {FileNotFoundError: "there is no such file", PermissionError: "no permission to read the file"}
        raise VideoDecodeError(path, common.get(type(error), f"the system says {error.strerror or error}")) from error


@contextmanager
def open_video(path: Path, *, decode: bool, index: int | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The open container and its video stream.

    Args:
        path: The video.
        decode: False probes the streams without decoding a frame, which takes a third of the time.
        index: Of the stream; None takes the one FFmpeg deems best.

    Raises:
        VideoDecodeError: Not a video container, or one without a video stream.
    """
    av.logging.set_level(None)  # FFmpeg's chatter about odd files; what matters is raised
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(
            os.path.abspath(path),  # noqa: PTH100 - a bare name like "pipe:0" would be taken for a protocol
            options=options if decode else {**options, "skip_frame": "all"},
            metadata_errors="ignore",  # tags in latin-1 are no reason to refuse pictures
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        problem = "it is not a video, or its head or index is cut off"
        if isinstance(error, OSError) and _is_of_the_system(error):
            problem = f"the system says {error.strerror}"
        raise VideoDecodeError(path, problem) from error
    with container:
        stream = _video_stream(path, container) if index is None else container.streams[index]
        assert isinstance(stream, VideoStream)
        yield container, stream


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise VideoDecodeError(path, f"it holds no video stream, only {' and '.join(kinds) or 'nothing'}")
    best = container.streams.best("video")
    chosen = best if best in streams else streams[0]
    if chosen.codec_context is None:  # not so in PyAV's stubs, but so for an unknown codec
        raise VideoDecodeError(path, "there is no decoder for its video codec")
    return chosen


def _is_seekable(path: Path, container: InputContainer, stream: VideoStream, packets: list[VideoPacket]) -> bool:
    """Whether decord reads the file exactly.

    The packets must prove that frame i is the i-th smallest timestamp and that every keyframe starts afresh, and what
    the headers say of the pictures must be of a kind that both decoders turn into the same bytes.
    """
    codec = stream.codec_context.codec.canonical_name
    if container.format.name not in (MP4, MATROSKA) or len(container.streams.video) != 1:
        return False
    if stream.codec_context.profile not in SEEKABLE_PROFILES.get(codec, ()):
        return False
    if not packets[0].is_keyframe or any(p.pts is None or p.is_corrupt for p in packets):
        return False
    claimed = (container.duration or 0) / av.time_base * float(stream.average_rate or 0)
    if claimed > 100 * len(packets):  # a damaged duration: decord takes memory for it and aborts the process
        return False
    pts = np.array([packet.pts for packet in packets])
    if len(np.unique(pts)) < len(pts):
        return False
    keys = np.flatnonzero([packet.is_keyframe for packet in packets])
    latest_before, earliest_after = np.maximum.accumulate(pts), np.minimum.accumulate(pts[::-1])[::-1]
    if (latest_before[keys] != earliest_after[keys]).any():
        return False
    return every_keyframe_starts_afresh(
        codec, stream.codec_context.extradata, [packets[key] for key in keys]
    ) and decord_turns(path, is_mp4=container.format.name == MP4)
