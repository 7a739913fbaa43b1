"""Features brought to one scale, so that one grid of hyper-parameters suits every backbone."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tvts_bench.probes.base import Float32Array

ROWS_AT_ONCE = 16_384  # rows in float64 at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Mean 0 and deviation 1 of every dimension over the training clips: linear, so a linear head stays one."""

    mean: Float32Array  # [D]
    deviation: Float32Array  # [D]; 1 where a dimension is constant

    @classmethod
    def of(cls, values: Float32Array) -> Self:
        """The scaling of `values` [N, D]."""
        mean = values.mean(axis=0, dtype=np.float64)
        squares = sum(
            ((values[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
            for start in range(0, len(values), ROWS_AT_ONCE)
        )
        deviation = np.sqrt(squares / len(values))
        constant = deviation <= 1e-6 * np.abs(values).max(axis=0)  # what float32 leaves of no difference at all
        return cls(mean=mean.astype(np.float32), deviation=np.where(constant, 1, deviation).astype(np.float32))

    @classmethod
    def none(cls, dimensions: int) -> Self:
        """Features as they are."""
        return cls(mean=np.zeros(dimensions, np.float32), deviation=np.ones(dimensions, np.float32))

    def __call__(self, values: Float32Array) -> Float32Array:
        """`values` [N, D] scaled."""
        scaled: Float32Array = (values - self.mean) / self.deviation
        return scaled
