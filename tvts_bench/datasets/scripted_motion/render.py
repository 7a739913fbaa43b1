"""Frames from states: one digit on a ground that wraps around at the edges. Pure, integer arithmetic only."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion import sprites
from tvts_bench.datasets.scripted_motion.motions import ANGLE, SIZE, TURN, X, Y

_ANGLES = 1024  # entries of the sine table
_SIZES = 256  # entries of the size table
_SMALLEST, _LARGEST = 0.40, 1.00  # side of a sprite, as a share of the frame's shorter side


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """All that a frame shows beside the sprite's state."""

    image: int  # index of the handwritten digit
    colour: tuple[int, int, int]  # RGB of the digit
    ground: str  # a key of sprites.GROUNDS
    ground_shift: tuple[int, int]  # rows, columns
    tint: tuple[int, int, int]  # added to the ground's RGB
    specks: tuple[tuple[int, int, int], ...] = ()  # row, column, grey level of static 2x2 squares: mild distraction


@functools.cache
def _tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sine times 2^12, int32 [_ANGLES]; smallest size over size times 2^12, int32 [_SIZES]."""
    sine = np.rint(np.sin(2 * np.pi * np.arange(_ANGLES) / _ANGLES) * 4096).astype(np.int32)
    shrink = np.rint((_SMALLEST / _LARGEST) ** (np.arange(_SIZES) / _SIZES) * 4096).astype(np.int32)
    return sine, shrink


def background(look: Appearance, height: int, width: int) -> NDArray[np.int32]:
    """The frame without its sprite. int32 [height, width, 3], values in 0..255."""
    plane = sprites.ground(look.ground, height, width, look.ground_shift) + np.array(look.tint)
    for row, column, grey in look.specks:
        plane[row : row + 2, column : column + 2] = grey
    shown: NDArray[np.int32] = np.clip(plane, 0, 255).astype(np.int32)
    return shown


def render(look: Appearance, states: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
    """The clip of one sprite that takes `states` [T, 4] (see `motions.path`). uint8 RGB [T, height, width, 3]."""
    alpha = _alpha(look.image, states, height, width)  # [T, H, W]
    behind = background(look, height, width)
    frames = np.empty((*alpha.shape, 3), np.uint8)
    for channel in range(3):
        plane = behind[..., channel]
        frames[..., channel] = plane + ((look.colour[channel] - plane) * alpha >> 8)
    return frames


def _alpha(image: int, states: NDArray[np.int64], height: int, width: int) -> NDArray[np.int32]:
    """Opacity (0..256) of the sprite at every pixel. int32 [T, height, width]."""
    sine, shrink = _tables()
    angle = states[:, ANGLE] * _ANGLES // TURN
    # Texels a pixel along the sprite's axes, times 2^12: the texture's 56 inner texels span the sprite's side.
    texels = (
        shrink[states[:, SIZE] * _SIZES // TURN].astype(np.int64)
        * 56
        * 1000
        // (min(height, width) * round(1000 * _SMALLEST))
    )
    cosine = (sine[(angle + _ANGLES // 4) % _ANGLES] * texels >> 12).astype(np.int32)[:, None, None]
    sines = (sine[angle] * texels >> 12).astype(np.int32)[:, None, None]
    dy = _offsets(states[:, Y], height)[:, :, None]  # [T, H, 1], 1/16 pixel
    dx = _offsets(states[:, X], width)[:, None, :]  # [T, 1, W]
    half = sprites.TEXTURE // 2
    # The sprite turned by +angle is read at the point turned back by it.
    u = ((dx * cosine + dy * sines) >> 16) + half
    v = ((dy * cosine - dx * sines) >> 16) + half
    texture = sprites.alpha_map(image)
    inside = np.clip(v, 0, sprites.TEXTURE - 1) * sprites.TEXTURE + np.clip(u, 0, sprites.TEXTURE - 1)
    opacity: NDArray[np.int32] = texture.ravel()[inside].astype(np.int32)
    return opacity + (opacity >> 7)


def _offsets(centres: NDArray[np.int64], length: int) -> NDArray[np.int32]:
    """Signed distances, in 1/16 pixel, of all pixels from the centres on a circle of `length`. int32 [T, length]."""
    pixels = 16 * np.arange(length, dtype=np.int64) + 8
    centre = centres * (16 * length) // TURN
    span = 16 * length
    return ((pixels[None] - centre[:, None] + span // 2) % span - span // 2).astype(np.int32)
