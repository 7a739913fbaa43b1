"""Pictures the right way up: what a file's display matrix says, as `ffmpeg` applies it on its own."""

import struct

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

UPRIGHT = (1, 0, 0, 1)


def orientation(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The signs of (a, b, c, d), where a pixel at x, y is shown at a x + c y, b x + d y: a multiple of a quarter turn,
    mirrored or not. Other angles count as the nearest of these.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return UPRIGHT
    a, b, _, c, d = struct.unpack_from("=5i", bytes(side_data))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return 0, _sign(b), _sign(c), 0
    return _sign(a), 0, 0, _sign(d)


def is_mirrored(frame: VideoFrame) -> bool:
    """Whether no rotation alone brings the picture upright."""
    a, b, c, d = orientation(frame)
    return a * d - b * c < 0


def upright(picture: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """`picture` [H, W, 3] of `frame` as it is to be shown; a view. PyAV itself only reports the matrix."""
    a, b, c, d = orientation(frame)
    if not a:
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: d or 1, :: a or 1]


def _sign(value: int) -> int:
    return -1 if value < 0 else 1
