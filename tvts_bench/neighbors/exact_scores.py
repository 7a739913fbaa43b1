"""Embeddings by id: their exact cosines, and the float32 form of them that FAISS searches, with its error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingSet:
    """Clips as vectors, by id."""

    ids: Sequence[str]
    values: Float32Array  # [N, D]
    groups: Sequence[str | None] | None = None  # clips cut from one source share theirs; None belongs to no group

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.shape[1]:
            raise UserError(f"features must be [clips, dimensions], got an array of shape {self.values.shape}")
        counts = (len(self.values), len(self.ids), len(self.ids if self.groups is None else self.groups))
        if len(set(counts)) > 1:
            raise UserError("there are {} rows of features for {} ids and {} groups".format(*counts))


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """The k nearest of each query, best first."""

    indices: IntArray  # [Q, k] rows of the gallery; -1 where fewer than k are left for a query
    similarities: Float32Array  # [Q, k] cosines; nan where the index is -1


DECIMALS = 9
NANO = 10**DECIMALS  # exact cosines are whole numbers of 1e-9, so that ties are ties on every machine
SLACK = 2 / NANO  # covers rounding to DECIMALS, and float64 sums, which are wrong by less than 1e-10
ROWS_AT_ONCE = 256  # rows converted to float64 together: 1.5 MB at 768 dimensions, so they stay in the cache
PAIRS_AT_ONCE = 128  # pairs scored together by a thread: their rows fit into its cache
FLOAT32_ROUNDING = 2.0**-24


@dataclass(frozen=True, eq=False)
class Rows:
    """Feature rows [N, D] with their norms."""

    values: Float32Array  # [N, D], finite
    norms: Float64Array  # [N]; 1 for a row of zeros, whose cosines then come out as 0

    @classmethod
    def of(cls, embedded: EmbeddingSet) -> "Rows":
        """Check and measure the rows.

        Raises:
            UserError: a value is NaN or infinite; the first ids are named.
        """
        values = np.ascontiguousarray(embedded.values, dtype=np.float32)
        norms = np.empty(len(values))
        for start in range(0, len(values), ROWS_AT_ONCE):
            block = values[start : start + ROWS_AT_ONCE].astype(np.float64)
            norms[start : start + ROWS_AT_ONCE] = np.sqrt(np.vecdot(block, block))
        broken = np.flatnonzero(~np.isfinite(norms))  # a sum of float32 squares cannot overflow float64
        if len(broken):
            first = ", ".join(repr(embedded.ids[row]) for row in broken[:3])
            raise UserError(
                f"{len(broken)} of {len(values)} clips have NaN or infinite features, the first: {first};"
                " extract them with --dtype fp32, or check the weights"
            )
        norms[norms == 0] = 1
        return cls(values, norms)

    def unit(self, rows: slice | IntArray) -> Float64Array:
        """Rows of length 1, in float64; rows of zeros stay so."""
        return self.values[rows].astype(np.float64) / self.norms[rows, None]

    def mean_direction(self) -> Float64Array:
        """Roughly the mean of the unit rows, [D]. Any vector is right for `Shifted`; a good one makes it precise."""
        with np.errstate(over="ignore", invalid="ignore"):  # rows too short for float32 to invert
            mean = (1 / self.norms).astype(np.float32) @ self.values / np.float32(max(len(self.values), 1))
        return mean.astype(np.float64) if np.isfinite(mean).all() else np.zeros(mean.shape)

    def nano_cosines(self, queries: "Rows", rows: IntArray, candidates: IntArray) -> IntArray:
        """Cosine, in whole 1e-9, of each query in `rows` [B] with the rows `candidates` of this gallery [B, M].

        Args:
            queries: Q rows.
            rows: which queries, [B].
            candidates: rows of this gallery, [B, M].

        The sum of a pair depends on nothing but its two rows, so equal rows have equal cosines. (A matrix product would
        be faster, but sums differently in the middle of a block and at its edge.)
        """
        count, width = candidates.shape
        products = np.empty((count, width))
        columns = max(1, min(width, PAIRS_AT_ONCE))
        height = max(1, PAIRS_AT_ONCE // columns)
        narrow = np.empty((height * columns, self.values.shape[1]), dtype=np.float32)
        wide = np.empty(narrow.shape)
        for top in range(0, count, height):
            query = queries.values[rows[top : top + height], None].astype(np.float64)
            for left in range(0, width, columns):
                part = candidates[top : top + height, left : left + columns]
                np.take(self.values, part.ravel(), axis=0, out=narrow[: part.size], mode="clip")
                wide[: part.size] = narrow[: part.size]
                pairs = wide[: part.size].reshape(*part.shape, -1)
                products[top : top + height, left : left + columns] = np.vecdot(pairs, query)
        return _in_nano(products / (queries.norms[rows, None] * self.norms[candidates]))

    def nano_cosines_with_all(self, queries: "Rows", rows: IntArray) -> IntArray:
        """The same numbers for each query in `rows` [B] and every row of this gallery, [B, N]; quicker for so many."""
        query = queries.values[rows, None].astype(np.float64)
        products = np.empty((len(rows), len(self.values)))
        for start in range(0, len(self.values), PAIRS_AT_ONCE):
            block = slice(start, start + PAIRS_AT_ONCE)
            products[:, block] = np.vecdot(self.values[block].astype(np.float64), query)
        return _in_nano(products / (queries.norms[rows, None] * self.norms))


@dataclass(frozen=True, eq=False)
class Shifted:
    """Rows as the first stage searches them: [g - c, c.(g - c)] in float32, c being the mean of the gallery.

    A query takes part as [q - c, 1], and the inner product is q.g - q.c. Taking c off every row changes no order, but
    now the float32 error shrinks with the spread of the features: those of an untrained network, all within a degree of
    each other, are told apart as well as any.
    """

    values: Float32Array  # [N, D + 1]
    along: Float64Array  # [N] c.(g - c)
    lengths: Float64Array  # [N] |g - c|
    center: Float64Array  # [D]

    @classmethod
    def of(cls, rows: Rows, which: IntArray, center: Float64Array) -> "Shifted":
        """Some rows, shifted.

        Args:
            rows: all of them.
            which: those that are taken, [N].
            center: taken off, [D].
        """
        values = np.empty((len(which), len(center) + 1), dtype=np.float32)
        along, lengths = np.empty(len(which)), np.empty(len(which))
        for start in range(0, len(which), ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            moved = rows.unit(which[block])
            moved -= center
            along[block] = moved @ center
            lengths[block] = np.sqrt(np.vecdot(moved, moved))
            values[block, :-1], values[block, -1] = moved, along[block]
        return cls(values, along, lengths, center)

    def take(self, which: IntArray) -> "Shifted":
        """A copy of the rows `which`."""
        return Shifted(self.values[which], self.along[which], self.lengths[which], self.center)

    def as_queries(self) -> tuple[Float32Array, Float64Array]:
        """Factors [N, D + 1] to multiply gallery rows with, and what to add to the products to get cosines [N]."""
        factors = self.values.copy()
        factors[:, -1] = 1
        return factors, self.along + self.center @ self.center

    def error(self, queries: "Shifted") -> Float64Array:
        """How far a cosine got by float32 products with these gallery rows can be from the exact one, [Q].

        The bound holds for every order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 3.1): n
        float32 products and sums err by at most n u / (1 - n u) times the sum of the products' sizes, itself at most
        the product of the norms. The four added to n are for rounding the factors themselves.
        """
        terms = (self.values.shape[1] + 4) * FLOAT32_ROUNDING
        sizes = queries.lengths * self.lengths.max(initial=0) + np.abs(self.along).max(initial=0)
        bound: Float64Array = sizes * (terms / (1 - terms)) + SLACK
        return bound


def _in_nano(cosines: Float64Array) -> IntArray:
    """Cosines as whole numbers of 1e-9."""
    nanos: IntArray = np.rint(cosines * NANO).astype(np.int64)
    return nanos
