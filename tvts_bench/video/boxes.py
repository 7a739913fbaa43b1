"""The boxes that an MP4 file is made of."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, kw_only=True)
class Box:
    """One of them: bytes `start` to `end` of the file, the first `head` of which say so."""

    kind: bytes
    start: int
    end: int
    head: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Those that follow one another from `start` on; the last may claim to end after `end`, or before it starts."""
    while start < end:
        head = os.pread(file.fileno(), 16, start)
        size, kind, length = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, length = int.from_bytes(head[8:16], "big"), 16
        elif size == 0 and kind.isalnum():  # to the end of the file
            size = end - start
        yield Box(kind=kind, start=start, end=start + size, head=length)
        if size < length:
            return
        start += size
