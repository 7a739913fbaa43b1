"""Actions to frames: where a sprite is while it performs them, what it and the ground look like, and the pixels.

Pure and, but for two tables of sines and sizes, integer arithmetic only: equal arguments, equal frames, on any machine.

The state of a sprite is a point on a torus: four circles (x, y, angle, log-size), each in units of 1/65536 of a turn.
An action moves along one circle in one direction, so a start drawn uniformly makes *every single frame* uniform over
all states whatever the action: what happens can be seen in the order of frames and in nothing else. Reversing time
swaps left and right, up and down, the two turns, grow and shrink.

Sprites are the handwritten digits of scikit-learn in named colours; grounds are textured and wrap around at the edges.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TURN = 1 << 16
"""Units of one circle: the width, the height, a full rotation, or the ratio of largest to smallest size."""

X, Y, ANGLE, SIZE = range(4)

ACTIONS: dict[str, tuple[int, int]] = {
    "left": (X, -1),
    "right": (X, 1),
    "up": (Y, -1),
    "down": (Y, 1),
    "clockwise": (ANGLE, 1),
    "anticlockwise": (ANGLE, -1),
    "grow": (SIZE, 1),
    "shrink": (SIZE, -1),
}
"""Name -> circle and direction (y points down, so a positive angle turns clockwise on the screen)."""

OPPOSITES: dict[str, str] = {
    name: next(other for other, way in ACTIONS.items() if way == (circle, -sign))
    for name, (circle, sign) in ACTIONS.items()
}
"""Name -> the action that undoes it."""

TEXTURE = 64
"""Side of a digit's alpha map; the 8x8 image fills its inner 56, the border stays empty."""

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (230, 60, 50),
    "orange": (245, 150, 40),
    "yellow": (245, 230, 70),
    "green": (80, 220, 90),
    "cyan": (70, 220, 225),
    "violet": (190, 110, 245),
    "pink": (250, 140, 190),
    "white": (245, 245, 245),
}
"""Colours of sprites, all brighter than any ground."""

GROUNDS: Mapping[str, tuple[int, int, int]] = {
    "grass": (30, 85, 35),
    "water": (25, 50, 110),
    "brick": (100, 40, 35),
    "sand": (110, 90, 50),
    "slate": (75, 80, 85),
    "night": (14, 14, 28),
}
"""Grounds with their mean colour; each has its own texture, see `_ground`."""

_HELD_OUT = 4  # every fourth handwriting is kept for evaluation
_ANGLES = 1024  # entries of the sine table
_SIZES = 256  # entries of the size table
_SMALLEST, _LARGEST = 0.40, 1.00  # side of a sprite, as a share of the frame's shorter side


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action for some frames."""

    action: str  # a key of ACTIONS
    frames: int
    speed: int  # units of TURN a frame along the action's circle
    drift: tuple[int, int, int, int] = (0, 0, 0, 0)  # units of TURN a frame added on all circles: imperfect motion


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """All that a frame shows beside the sprite's state."""

    image: int  # index of the handwritten digit
    colour: tuple[int, int, int]  # RGB of the digit
    ground: str  # a key of GROUNDS
    ground_shift: tuple[int, int]  # rows, columns
    tint: tuple[int, int, int]  # added to the ground's RGB
    specks: tuple[tuple[int, int, int], ...] = ()  # row, column, grey level of static 2x2 squares: mild distraction


def path(start: tuple[int, int, int, int], steps: Sequence[Step]) -> NDArray[np.int64]:
    """States of a sprite that starts at `start` and performs `steps` one after the other.

    Returns:
        int64 [frames, 4]: x, y, angle, log-size, each in [0, TURN). Frame 0 is `start`.
    """
    velocities = np.array([step.drift for step in steps], np.int64)
    for velocity, step in zip(velocities, steps, strict=True):
        circle, sign = ACTIONS[step.action]
        velocity[circle] += sign * step.speed
    moved = np.repeat(velocities, [step.frames for step in steps], axis=0)[:-1]
    states: NDArray[np.int64] = np.cumsum(np.vstack([np.array(start, np.int64), moved]), axis=0) % TURN
    return states


@functools.cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 images of `sklearn.datasets.load_digits`, uint8 [N, 8, 8] in 0..16, and their digits [N]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.uint8), data.target.astype(np.int64)


@functools.cache
def handwritings(digit: int, held_out: bool) -> tuple[int, ...]:
    """Indices of the images of `digit` that are used for training, or those held out for evaluation."""
    images = np.flatnonzero(_digits()[1] == digit)
    return tuple(images[(np.arange(len(images)) % _HELD_OUT == 0) == held_out].tolist())


@functools.lru_cache(maxsize=2048)
def _alpha_map(image: int) -> NDArray[np.uint8]:
    """Opacity (0..255) of one handwritten digit, enlarged bilinearly in integers. uint8 [TEXTURE, TEXTURE]."""
    small = np.pad(_digits()[0][image], 1).astype(np.int64)  # [10, 10]
    inner = TEXTURE - 8  # 7 texels a source pixel
    # Position of each texel's centre among the centres of the padded source, in 1/256 pixel.
    position = (2 * np.arange(inner, dtype=np.int64) + 1) * 8 * 128 // inner + 128
    cell, weight = position // 256, position % 256
    rows = small[cell] * (256 - weight)[:, None] + small[cell + 1] * weight[:, None]
    both = rows[:, cell] * (256 - weight) + rows[:, cell + 1] * weight  # 0..16 * 65536
    alpha = np.minimum(both * 20 // 65536, 255)  # strokes of 13 and more (of 16) are opaque
    return np.pad(alpha, 4).astype(np.uint8)


def _ground(name: str, height: int, width: int, shift: tuple[int, int]) -> NDArray[np.int64]:
    """A textured ground, moved by `shift` (rows, columns). int64 [height, width, 3], values in 0..255."""
    y = np.arange(height)[:, None] + shift[0]
    x = np.arange(width)[None, :] + shift[1]
    speckle = (x * 73 + y * 151 + (x * y) % 89 * 37) % 101
    pattern = {
        "grass": (x * 7 + (y // 3) * 3) % 6 // 3 * 8 - 4 + 0 * y,
        "water": ((y + (x // 6) % 2) % 5 < 2) * 8 - 4,
        "brick": ((y % 8 == 0) | ((x + y // 8 * 5) % 10 == 0)) * 12 - 3,
        "sand": (speckle < 30) * 8 - 3,
        "slate": 0 * x * y,
        "night": (speckle < 4) * 40,
    }[name]
    textured: NDArray[np.int64] = np.clip(np.array(GROUNDS[name], np.int64) + pattern[..., None], 0, 255)
    return textured


@functools.cache
def _tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sine times 2^12, int32 [_ANGLES]; smallest size over size times 2^12, int32 [_SIZES]."""
    sine = np.rint(np.sin(2 * np.pi * np.arange(_ANGLES) / _ANGLES) * 4096).astype(np.int32)
    shrink = np.rint((_SMALLEST / _LARGEST) ** (np.arange(_SIZES) / _SIZES) * 4096).astype(np.int32)
    return sine, shrink


def _background(look: Appearance, height: int, width: int) -> NDArray[np.int32]:
    """The frame without its sprite. int32 [height, width, 3], values in 0..255."""
    plane = _ground(look.ground, height, width, look.ground_shift) + np.array(look.tint)
    for row, column, grey in look.specks:
        plane[row : row + 2, column : column + 2] = grey
    clipped: NDArray[np.int32] = np.clip(plane, 0, 255).astype(np.int32)
    return clipped


def render(look: Appearance, states: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
    """The clip of one sprite.

    Args:
        look: of the sprite and its ground.
        states: int64 [T, 4] that the sprite takes, see `path`.
        height: pixels.
        width: pixels.

    Returns:
        uint8 RGB [T, height, width, 3].
    """
    alpha = _alpha(look.image, states, height, width)  # [T, H, W]
    background = _background(look, height, width)
    frames = np.empty((*alpha.shape, 3), np.uint8)
    for channel in range(3):
        plane = background[..., channel]
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
    half = TEXTURE // 2
    # The sprite turned by +angle is read at the point turned back by it.
    u = ((dx * cosine + dy * sines) >> 16) + half
    v = ((dy * cosine - dx * sines) >> 16) + half
    texture = _alpha_map(image)
    inside = np.clip(v, 0, TEXTURE - 1) * TEXTURE + np.clip(u, 0, TEXTURE - 1)
    opacity: NDArray[np.int32] = texture.ravel()[inside].astype(np.int32)
    return opacity + (opacity >> 7)


def _offsets(centres: NDArray[np.int64], length: int) -> NDArray[np.int32]:
    """Signed distances, in 1/16 pixel, of all pixels from the centres on a circle of `length`. int32 [T, length]."""
    pixels = 16 * np.arange(length, dtype=np.int64) + 8
    centre = centres * (16 * length) // TURN
    span = 16 * length
    return ((pixels[None] - centre[:, None] + span // 2) % span - span // 2).astype(np.int32)
