"""Fewer labels: a part of the training set, drawn class by class from a seed."""

from dataclasses import dataclass

import numpy as np

from tvts_bench.probes.base import IntArray, ProbeError


@dataclass(frozen=True, kw_only=True)
class LowLabel:
    """How much of the training set is used. Exactly one of the two is given."""

    fraction: float | None = None  # 0..1, of every class, but at least one clip of each
    per_class: int | None = None  # clips of every class; a class with fewer gives all it has

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.per_class is None):
            raise ProbeError("give one of --fraction and --per-class")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ProbeError(f"--fraction must be above 0 and at most 1, got {self.fraction:g}")
        if self.per_class is not None and self.per_class < 1:
            raise ProbeError(f"--per-class must be at least 1, got {self.per_class}")

    def __str__(self) -> str:
        return f"{100 * self.fraction:g} % of every class" if self.fraction else f"{self.per_class} clips a class"

    def count(self, size: int) -> int:
        """Clips taken of a class that has `size`."""
        if self.per_class is not None:
            return min(self.per_class, size)
        assert self.fraction is not None
        return min(max(1, round(self.fraction * size)), size)

    def draw(self, labels: IntArray, seed: int) -> IntArray:
        """Rows of `labels` [N] that are kept, ascending.

        A smaller part of the same seed is contained in a larger one, so that learning curves differ by size alone.
        """
        rng = np.random.default_rng(seed)
        rows = [
            own[rng.permutation(len(own))[: self.count(len(own))]]
            for label in np.unique(labels)
            for own in [np.flatnonzero(labels == label)]
        ]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)
