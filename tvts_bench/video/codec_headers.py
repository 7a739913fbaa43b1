"""What the first bits of coded pictures say, read without a decoder."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

VideoPacket: TypeAlias = "Packet[VideoStream]"  # generic in PyAV's stubs only

# NAL unit types: a picture that nothing stored after it reaches across; remarks on it; a picture format.
H264_IDR, H264_SEI, H264_SPS = 5, 6, 7
SEI_ORIENTATION = 47  # the remark that the picture is to be turned or mirrored, which decord does not know
VP8_SHOWN = 0x10  # bit of a VP8 frame's first byte
VP9_SYNC = b"\x49\x83\x42"
HIGH_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # whose SPS describes the chroma


def is_hidden(codec: str, packet: VideoPacket) -> bool:
    """Whether the packet holds a picture that is never shown: one of VP8's alternate reference frames."""
    return codec == "vp8" and not memoryview(packet)[0] & VP8_SHOWN


def every_keyframe_starts_afresh(codec: str, avcc: bytes | None, keyframes: Sequence[VideoPacket]) -> bool:
    """Whether the keyframes, of H.264 or VP9, are proven to need nothing before them, and to keep format and size.

    No interlaced pictures either, odd heights, and orientations besides that of the container, of all of which decord
    makes other bytes than PyAV.

    `avcc` is the configuration record of an H.264 stream; without it NAL units are not length-prefixed and nothing is
    proven.
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
