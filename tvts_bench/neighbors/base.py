"""What a search takes and returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class NeighborError(UserError):
    """A search that cannot be answered: K too large, features that are not finite, widths that differ."""


class FaissMissingError(UserError):
    """FAISS is not installed, or installed twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Clips as vectors, by id."""

    ids: Sequence[str]
    values: Float32Array  # [N, D]
    groups: Sequence[str | None] | None = None  # clips cut from one source share theirs; None belongs to no group

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.shape[1]:
            raise NeighborError(f"features must be [clips, dimensions], got an array of shape {self.values.shape}")
        counts = (len(self.values), len(self.ids), len(self.ids if self.groups is None else self.groups))
        if len(set(counts)) > 1:
            raise NeighborError("there are {} rows of features for {} ids and {} groups".format(*counts))


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """The k nearest of each query, best first."""

    indices: IntArray  # [Q, k] rows of the gallery; -1 where fewer than k are left for a query
    similarities: Float32Array  # [Q, k] cosines; nan where the index is -1
