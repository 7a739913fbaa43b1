"""What sprites and grounds look like: the handwritten digits of scikit-learn, named colours, textured grounds."""

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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
"""Grounds with their mean colour; each has its own texture, see `ground`."""

_HELD_OUT = 4  # every fourth handwriting is kept for evaluation


@functools.cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 images of `sklearn.datasets.load_digits`, uint8 [N, 8, 8] in 0..16, and their digits [N]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.uint8), data.target.astype(np.int64)


@functools.cache
def handwritings(digit: int, held_out: bool) -> tuple[int, ...]:
    """Indices of the images of `digit` that are used for training, or those held out for evaluation."""
    found = np.flatnonzero(_digits()[1] == digit)
    kept = np.arange(len(found)) % _HELD_OUT == 0
    return tuple(int(index) for index in found[kept if held_out else ~kept])


@functools.lru_cache(maxsize=2048)
def alpha_map(image: int) -> NDArray[np.uint8]:
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


def ground(name: str, height: int, width: int, shift: tuple[int, int]) -> NDArray[np.int64]:
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
    shown: NDArray[np.int64] = np.clip(np.array(GROUNDS[name], np.int64) + pattern[..., None], 0, 255)
    return shown
