"""What a video file says of itself before anything is decoded: its packets, and whether decord's seeking suits them.

decord takes frame i to be the one with the i-th smallest timestamp and seeks to what the container calls a keyframe.
That is exact only where packets and pictures are one to one and nothing after a keyframe needs a picture before it:

    stored    I0 P3 B1 B2 | I6 B4 B5      an open GOP: B4 and B5 are stored after I6, shown before it and need P3,
    shown      0  1  2  3    4  5  6      so a reader that seeks to I6 loses or garbles them

A file whose packets do not prove this is decoded from its start instead (`sequential`).
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from tvts_bench.errors import UserError

# No playlists, text renderers or network formats: a file handed in must not make FFmpeg open others.
MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"  # names FFmpeg gives the two families
CONTAINERS = f"{MP4},{MATROSKA},avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,flv,asf,ogg,rm,swf,dv,mxf,nut,gif"
VideoPacket: TypeAlias = "Packet[VideoStream]"  # generic in PyAV's stubs only
# 8-bit 4:2:0, of which decord and PyAV make the same bytes. H.264 and VP9 are what decord was found to seek in exactly.
SEEKABLE_PROFILES = {
    "h264": {"Baseline", "Constrained Baseline", "Main", "Extended", "High", "Progressive High", "Constrained High"},
    "vp9": {"Profile 0"},
}
H264_IDR = 5  # NAL unit type of a picture that nothing stored after it reaches across


TRANSIENT_ERRORS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What the system was short of, or a disk that did not answer."""


def is_transient(error: BaseException | None) -> bool:
    """Whether the system is at fault, so that another try may succeed."""
    number = getattr(error, "errno", None)
    if number == errno.EIO and isinstance(error, av.FFmpegError):
        return False  # FFmpeg says so of damaged files, too; who hashes the file first hears of the disk's own
    return isinstance(error, TimeoutError) or number in TRANSIENT_ERRORS


class VideoDecodeError(UserError):
    """A video that cannot be read: one sentence that names the file and says why."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"cannot read {path}: {problem}")
        self.path, self.problem = path, problem

    @property
    def transient(self) -> bool:
        """Whether the system is at fault and not the file. Known where it is raised, not in another process."""
        return is_transient(self.__cause__)

    def __reduce__(self) -> tuple[type["VideoDecodeError"], tuple[Path, str]]:
        return type(self), (self.path, self.problem)  # survives the way from a worker process


@dataclass(frozen=True, kw_only=True)
class PacketIndex:
    """What one pass over a file's packets tells, nothing decoded."""

    stream: int  # index of the video stream among all streams
    num_packets: int  # coded pictures in the file; mostly, not always, the number of frames
    header_frames: int  # how many the header promises; 0 where the container does not say
    fps: float  # frames a second, averaged; 0 where unknown
    seekable: bool  # whether decord's seeking is exact on this file


def read_index(path: Path) -> PacketIndex:
    """Index the packets of the file's video stream, in about a millisecond.

    With several video streams it is the one FFmpeg deems best; cover pictures do not count.

    Raises:
        VideoDecodeError: not a readable file, not a video, no video stream, no packet in it.
    """
    require_file(path)
    with open_video(path, decode=False) as (container, stream):
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        header_frames = len(stream.index_entries) if container.format.name == MP4 else stream.frames
        packets = [packet for packet in _demux(container, stream) if packet.size]
        if not packets:
            raise VideoDecodeError(path, "its video stream is empty")
        if container.format.name == MATROSKA and _ends_early(path, packets[-1]):
            header_frames = _frames_by_duration(container, packets)
        return PacketIndex(
            stream=stream.index,
            num_packets=len(packets),
            header_frames=header_frames,
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            seekable=_is_seekable(container, stream, packets),
        )


def require_file(path: Path) -> None:
    """Refuse what is not a readable file with something in it; opening a named pipe would block for ever.

    Raises:
        VideoDecodeError: missing, a folder, no permission, not a regular file, or empty.
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
    except FileNotFoundError as error:
        raise VideoDecodeError(path, "there is no such file") from error
    except PermissionError as error:
        raise VideoDecodeError(path, "no permission to read the file") from error
    except OSError as error:
        raise VideoDecodeError(path, f"the system says {error.strerror or error}") from error


@contextmanager
def open_video(path: Path, *, decode: bool, index: int | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The open container and its video stream: number `index`, or the one FFmpeg deems best.

    Without `decode` the streams are probed without decoding a frame, which takes a third of the time.

    Raises:
        VideoDecodeError: not a video container, or one without a video stream.
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
        if isinstance(error, OSError) and is_transient(error):
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


def _demux(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """Packets up to the end or to the first that cannot be read; how many were promised is checked later."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _is_seekable(container: InputContainer, stream: VideoStream, packets: list[VideoPacket]) -> bool:
    """Whether the packets prove that frame i is the i-th smallest timestamp and that every keyframe starts afresh."""
    codec = stream.codec_context.codec.canonical_name
    if container.format.name not in (MP4, MATROSKA) or len(container.streams.video) != 1:
        return False
    if stream.codec_context.profile not in SEEKABLE_PROFILES.get(codec, ()):
        return False
    if not packets[0].is_keyframe or any(p.pts is None or p.is_corrupt or p.is_discard for p in packets):
        return False
    claimed = (container.duration or 0) / av.time_base * float(stream.average_rate or 0)
    if claimed > 100 * len(packets):  # a damaged duration: decord takes memory for it and aborts the process
        return False
    pts = np.array([packet.pts for packet in packets])
    if len(np.unique(pts)) < len(pts):
        return False
    keys = np.flatnonzero([packet.is_keyframe for packet in packets])
    if (np.maximum.accumulate(pts)[keys] != pts[keys]).any():
        return False
    if (np.minimum.accumulate(pts[::-1])[::-1][keys] != pts[keys]).any():
        return False
    # Every VP9 keyframe starts afresh; of H.264's only the IDR pictures do.
    return codec != "h264" or all(_holds_idr(packets[key], stream.codec_context.extradata) for key in keys)


def _holds_idr(packet: VideoPacket, avcc: bytes | None) -> bool:
    """Whether an H.264 keyframe is an IDR picture, not just a recovery point.

    `avcc` is the stream's configuration record; without it NAL units are not length-prefixed and nothing is proven.
    """
    if not avcc or len(avcc) < 5 or avcc[0] != 1:
        return False
    data, width, at = memoryview(packet), (avcc[4] & 3) + 1, 0
    while at + width < len(data):
        if data[at + width] & 0x1F == H264_IDR:
            return True
        at += width + int.from_bytes(data[at : at + width], "big")
    return False


def _frames_by_duration(container: InputContainer, packets: list[VideoPacket]) -> int:
    """How many frames a Matroska file once had, by the duration in its header, which keeps no count. 0 if neither."""
    ends = [((p.pts or 0) + (p.duration or 0)) * p.time_base for p in packets]
    if not container.duration or max(ends) <= 0:
        return 0
    return round(len(packets) * container.duration / av.time_base / float(max(ends)))


def _ends_early(path: Path, last: VideoPacket) -> bool:
    """Whether a Matroska or WebM file is shorter than its segment, or reading stopped well before its end.

    A live recording does not say how long its segment is, so a cut one cannot be told from a complete one.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    total = path.stat().st_size
    if last.pos is not None and last.pos + last.size < 0.95 * total:
        return True
    size, start = _ebml_number(head, 4)  # of the EBML header, behind its ID
    segment = start + size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return False
    size, at = _ebml_number(head, segment + 4)
    unknown = size == (1 << 7 * (at - segment - 4)) - 1
    return not unknown and at + size > total


def _ebml_number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length size field at `at`, and where it ends: the leading zero bits say how many bytes follow."""
    length = 9 - data[at].bit_length() if at < len(data) else 1
    return int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1), at + length
