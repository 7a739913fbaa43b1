"""What the bytes of a file say, read without a decoder: how the container is built, and the first bits of pictures.

Boxes of MP4, elements of Matroska, headers of H.264, VP8 and VP9.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

VideoPacket: TypeAlias = "Packet[VideoStream]"  # generic in PyAV's stubs only

# NAL unit types: a picture that nothing stored after it reaches across; remarks on it; a picture format.
H264_IDR, H264_SEI, H264_SPS = 5, 6, 7
SEI_ORIENTATION = 47  # the remark that the picture is to be turned or mirrored, which decord does not know
VP8_SHOWN = 0x10  # bit of a VP8 frame's first byte
VP9_SYNC = b"\x49\x83\x42"
HIGH_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # whose SPS describes the chroma

SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
# Elements of EBML: header, void, checksum; of a segment: seek head, info, tracks, cues, attachments, chapters, tags;
# of a cluster: time, simple block, block group, position, previous size, silent tracks, encrypted block.
ELEMENTS = {0x1A45DFA3, 0xEC, 0xBF, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
ELEMENTS |= {0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF}

# The signs of (a, b, c, d), where a pixel at x, y is shown at a x + c y, b x + d y.
Signs: TypeAlias = tuple[int, int, int, int]

UPRIGHT: Signs = (1, 0, 0, 1)
_CLUSTER = b"\x1f\x43\xb6\x75"  # in front of the first one, Matroska describes its tracks
_PROJECTION = re.compile(rb"\x76[\x73-\x75][\x84\x88]", re.DOTALL)  # a yaw, pitch or roll of 4 or 8 bytes


class Box(NamedTuple):
    """A part of an MP4 file: bytes `start` to `end`, the first `head` of which say so."""

    kind: bytes
    start: int
    end: int
    head: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that follow one another; the last may claim to end after `end`, or before it starts.

    Args:
        file: An MP4 file, or any other.
        start: Byte of the first one.
        end: Byte at which they end.
    """
    while start < end:
        head = os.pread(file.fileno(), 16, start)
        size, kind, length = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, length = int.from_bytes(head[8:16], "big"), 16
        elif size == 0 and kind.isalnum():  # to the end of the file
            size = end - start
        yield Box(kind, start, start + size, length)
        if size < length:
            return
        start += size


def broken_fragment(path: Path) -> int | None:
    """Where a fragmented MP4 stops making sense: the start of its last box, if that is cut off or garbled.

    Each fragment counts its own frames only, so what a cut took is not known. None: sound, or not fragmented.
    """
    total, fragmented = path.stat().st_size, False
    with path.open("rb") as file:
        for box in boxes(file, 0, total):
            fragmented = fragmented or box.kind == b"moof"
            if fragmented and not box.start + box.head <= box.end <= total:
                return box.start
    return None


def matroska_structure(path: Path) -> tuple[int | None, int | None]:
    """Where a Matroska file breaks in its middle, so that blocks are lost, and where its segment should end.

    FFmpeg resumes such a file at its next cluster without a word. An end that is cut off is no break; a live recording
    does not say where its segment ends. None: nowhere, and unknown.
    """
    total, at, segment_end = path.stat().st_size, 0, None
    with path.open("rb") as file:
        while at < total:
            head = os.pread(file.fileno(), 12, at)
            kind_length = 9 - head[0].bit_length()
            kind = int.from_bytes(head[:kind_length], "big")
            size, start = _ebml_number(head, kind_length)
            if kind == SEGMENT and size != (1 << 7 * (start - kind_length)) - 1:
                segment_end = at + start + size
                total = min(total, segment_end)
            elif kind not in ELEMENTS and kind not in (SEGMENT, CLUSTER):
                return at, segment_end
            at += start if kind in (SEGMENT, CLUSTER) else start + size
    return None, segment_end


def _ebml_number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length size field at `at`, and where it ends: the leading zero bits say how many bytes follow."""
    length = 9 - data[at].bit_length() if at < len(data) else 1
    return int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1), at + length


def is_hidden(codec: str, packet: VideoPacket) -> bool:
    """Whether the packet holds a picture that is never shown: one of VP8's alternate reference frames."""
    return codec == "vp8" and not memoryview(packet)[0] & VP8_SHOWN


def every_keyframe_starts_afresh(codec: str, avcc: bytes | None, keyframes: Sequence[VideoPacket]) -> bool:
    """Whether the keyframes are proven to need nothing before them, and to keep format and size.

    No interlaced pictures either, odd heights, and orientations besides that of the container, of all of which decord
    makes other bytes than PyAV.

    Args:
        codec: "h264" or "vp9".
        avcc: Configuration record of an H.264 stream; without it NAL units are not length-prefixed: nothing is proven.
        keyframes: Their packets.
    """
    if codec == "vp9":  # all of them start afresh
        sizes = {_vp9_size(packet) for packet in keyframes}
        return len(sizes) == 1 and sizes.pop()[1] % 2 == 0
    if not avcc or len(avcc) < 8 or avcc[0] != 1:
        return False
    return _is_progressive(avcc) and all(_is_idr_of(packet, avcc) for packet in keyframes)


def _is_idr_of(packet: VideoPacket, avcc: bytes) -> bool:
    """Whether an H.264 keyframe is an IDR picture, not just a recovery point, of the format that the header gives."""
    data, width, at = memoryview(packet), (avcc[4] & 3) + 1, 0
    while at + width < len(data):
        kind = data[at + width] & 0x1F
        if kind == H264_IDR:
            return True
        start, at = at + width, at + width + int.from_bytes(data[at : at + width], "big")
        if kind == H264_SPS and bytes(data[start:at]) not in avcc:
            return False
        if kind == H264_SEI and SEI_ORIENTATION in _remarks(bytes(data[start:at])):
            return False
    return False


def _remarks(unit: bytes) -> Iterator[int]:
    """The types of the messages in a NAL unit of supplemental information. Types and sizes beyond 254 take more bytes.

    A size that leads past the end ends it.
    """
    data, at = unit.replace(b"\0\0\3", b"\0\0"), 1
    while at + 1 < len(data):
        numbers = []
        for _ in ("type", "size"):
            number = 0
            while at < len(data) and data[at] == 0xFF:
                number, at = number + 0xFF, at + 1
            numbers.append(number + (data[at] if at < len(data) else 0))
            at += 1
        yield numbers[0]
        at += numbers[1]


def _vp9_size(packet: VideoPacket) -> tuple[int, int]:
    """Width and height of a keyframe of profile 0; an odd one where it is none."""
    head = bytes(memoryview(packet)[:9])
    bits = int.from_bytes(head[4:], "big") >> 4
    return ((bits >> 16 & 0xFFFF) + 1, (bits & 0xFFFF) + 1) if head[1:4] == VP9_SYNC and len(head) == 9 else (1, 1)


def _is_progressive(avcc: bytes) -> bool:
    """Whether the first sequence parameter set of an H.264 stream rules out interlaced pictures."""
    bits = _Bits(avcc[8 : 8 + int.from_bytes(avcc[6:8], "big")].replace(b"\0\0\3", b"\0\0"))
    bits.skip(8)
    profile = bits.take(8)
    bits.skip(16)
    bits.golomb()
    if profile in HIGH_PROFILES:
        if bits.golomb() == 3:
            bits.skip(1)
        bits.golomb(), bits.golomb()
        bits.skip(1)
        if bits.take(1):
            return False  # quantisation tables, which no common encoder writes here: not read on
    bits.golomb()
    order = bits.golomb()  # how pictures are put in order
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.skip(1)
        bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.skip(1)
    bits.golomb(), bits.golomb()
    return bool(bits.take(1))


class _Bits:
    """Bits of a parameter set from the first on; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        return (self.value >> self.left if self.left >= 0 else 0) & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self.left -= count

    def golomb(self) -> int:
        """An unsigned Exp-Golomb number: as many zeros as bits follow the first one."""
        zeros = 0
        while self.left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def decord_turns(path: Path, *, is_mp4: bool) -> bool:
    """Whether decord brings the frames of an MP4 or Matroska file upright as the picture is meant.

    It turns them as the track of an MP4 says, but mirrors none, and does not know of Matroska's way to say it.
    """
    if is_mp4:
        return all(b == -c and (a == d) for a, b, c, d in _track_matrices(path))
    with path.open("rb") as file:
        head = file.read(2**16)
    return not _PROJECTION.search(head.partition(_CLUSTER)[0])


def _track_matrices(path: Path) -> Iterator[Signs]:
    """Yields those of all tracks, and something that no rotation is where the whole presentation is not upright.

    The matrix of the whole presentation is combined with that of each track.
    """
    with path.open("rb") as file:
        for movie in boxes(file, 0, path.stat().st_size):
            if movie.kind != b"moov":
                continue
            for part in boxes(file, movie.start + movie.head, movie.end):
                if part.kind == b"mvhd" and _matrix(file.fileno(), part.end - 64) != UPRIGHT:
                    yield (0, 0, 0, 1)
                if part.kind == b"trak":
                    headers = boxes(file, part.start + part.head, part.end)
                    yield from (_matrix(file.fileno(), box.end - 44) for box in headers if box.kind == b"tkhd")


def _matrix(descriptor: int, at: int) -> Signs:
    return signs_of(struct.unpack(">5i", os.pread(descriptor, 20, at).ljust(20, b"\0")))


def signs_of(matrix: tuple[int, ...]) -> Signs:
    """Of a display matrix, from its first five numbers, that of the nearest multiple of 90 degrees."""
    a, b, _, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        return 0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0
    return -1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1
