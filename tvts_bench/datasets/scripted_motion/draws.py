"""Random draws that are the same on every machine and in every version of NumPy."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draws:
    """Integers from the raw 64-bit stream of PCG64, seeded by a number and a name.

    NumPy promises the raw stream of a bit generator for ever, but not how `Generator.integers` or `random` use it.
    """

    def __init__(self, seed: int, name: str) -> None:
        words = np.frombuffer(hashlib.sha256(f"{seed}\0{name}".encode()).digest(), "<u4")
        self._bits = np.random.PCG64(np.random.SeedSequence([int(word) for word in words]))

    def below(self, bound: int) -> int:
        """One integer in [0, bound)."""
        return (int(self._bits.random_raw()) >> 32) * bound >> 32

    def between(self, low: int, high: int) -> int:
        """One integer in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in random order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order
