"""Whether a file holds what its container says that it holds, by the container's own structure."""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from tvts_bench.video.boxes import boxes
from tvts_bench.video.codec_headers import VideoPacket

_Stream = TypeVar("_Stream", bound=Stream)

SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
# Elements of EBML: header, void, checksum; of a segment: seek head, info, tracks, cues, attachments, chapters, tags;
# of a cluster: time, simple block, block group, position, previous size, silent tracks, encrypted block.
ELEMENTS = {0x1A45DFA3, 0xEC, 0xBF, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
ELEMENTS |= {0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF}


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


def broken_element(path: Path) -> int | None:
    """Where the chain of elements of a Matroska file breaks in its middle, so that blocks are lost. None: nowhere.

    FFmpeg takes up such a file at its next cluster without a word. An end that is cut off is not counted.
    """
    total, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < total:
            head = os.pread(file.fileno(), 12, at)
            kind_length = 9 - head[0].bit_length()
            kind = int.from_bytes(head[:kind_length], "big")
            size, start = ebml_number(head, kind_length)
            if kind == SEGMENT:
                unknown = size == (1 << 7 * (start - kind_length)) - 1
                total = total if unknown else min(total, at + start + size)
            elif kind not in ELEMENTS and kind != CLUSTER:
                return at
            at += start if kind in (SEGMENT, CLUSTER) else start + size
    return None


def ends_early(path: Path, last: VideoPacket) -> bool:
    """Whether a Matroska or WebM file is shorter than its segment, or its pictures stop well before its end.

    A live recording does not say how long its segment is, so a cut one cannot be told from a complete one.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    total = path.stat().st_size
    if last.pos is not None and last.pos + last.size < 0.95 * total:
        return True
    size, start = ebml_number(head, 4)  # of the EBML header, behind its ID
    segment = start + size
    if head[segment : segment + 4] != struct.pack(">I", SEGMENT):
        return False
    size, at = ebml_number(head, segment + 4)
    unknown = size == (1 << 7 * (at - segment - 4)) - 1
    return not unknown and at + size > total


def ebml_number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length size field at `at`, and where it ends: the leading zero bits say how many bytes follow."""
    length = 9 - data[at].bit_length() if at < len(data) else 1
    return int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1), at + length


def packets_by_slots(stream: VideoStream, packets: Sequence[VideoPacket]) -> int:
    """How many packets the stream of an AVI file once had: the entries of its index, which is lost with its end.

    The header counts slots, and one without a packet means "the last frame again".
    """
    reached = max((packet.dts for packet in packets if packet.dts is not None), default=stream.frames - 1) + 1
    by_header = round(len(packets) * stream.frames / reached) if reached > 0 else stream.frames
    return max(len(stream.index_entries), by_header)


def packets_by_duration(container: InputContainer, stream: VideoStream, packets: Sequence[VideoPacket]) -> int:
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
        reached = max((_end(packet) for packet in readable(container.demux()) if packet.size), default=end)
        length = end * (container.duration or 0) / av.time_base / reached if reached > 0 else 0.0
    return round(len(packets) * length / end) if end > 0 else 0


def _end(packet: "Packet[Any]") -> float:
    """Seconds."""
    return float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _tagged_length(stream: VideoStream) -> float | None:
    """Seconds, by the stream's own tag: "00:01:10.250000000"."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", "").strip("\0 "))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def readable(packets: "Iterator[Packet[_Stream]]") -> "Iterator[Packet[_Stream]]":
    """Packets up to the end or to the first that cannot be read; how many were promised is checked later."""
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return
