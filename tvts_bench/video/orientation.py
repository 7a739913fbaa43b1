"""Pictures the right way up: what a file's display matrix says, as `ffmpeg` applies it on its own."""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tvts_bench.video.boxes import boxes

# The signs of (a, b, c, d), where a pixel at x, y is shown at a x + c y, b x + d y.
Signs: TypeAlias = tuple[int, int, int, int]

UPRIGHT: Signs = (1, 0, 0, 1)
_CLUSTER = b"\x1f\x43\xb6\x75"  # in front of the first one, Matroska describes its tracks
_PROJECTION = re.compile(rb"\x76[\x73-\x75][\x84\x88]", re.DOTALL)  # a yaw, pitch or roll of 4 or 8 bytes


def upright(picture: NDArray[Any], frame: VideoFrame) -> NDArray[np.uint8]:
    """`picture` uint8 [H, W, 3] of `frame` as it is to be shown; a view. PyAV itself only reports the matrix.

    Turned by the nearest multiple of 90 degrees, and mirrored.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    assert isinstance(matrix, Buffer)
    a, b, c, d = _signs(struct.unpack_from("=5i", bytes(matrix)))
    if not a:
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[::d, ::a]


def decord_turns(path: Path, *, is_mp4: bool) -> bool:
    """Whether decord brings the frames of an MP4 or Matroska file upright as `upright` does.

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
    return _signs(struct.unpack(">5i", os.pread(descriptor, 20, at).ljust(20, b"\0")))


def _signs(matrix: tuple[int, ...]) -> Signs:
    a, b, _, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        return 0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0
    return -1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1
