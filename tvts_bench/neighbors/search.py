"""Exact cosine search in two stages, the same on every device.

*Definition.* Similarity is the cosine of two float32 rows, computed in float64 and rounded to nine decimals; a row of
zeros has similarity 0 to everything. Neighbours rank by falling similarity, equal ones by gallery id (code points). So
the result depends on ids and features alone: not on device, threads, or how the queries are cut into blocks.

*Stages.* FAISS searches flat in float32, and such sums differ in their last bits between machines and block sizes. So
it is asked for a few more than k; those are scored again in float64; and the error bound of the float32 search tells
whether anything it left out could belong to the first k. Queries where it could (because a hundred equal clips lie on
the boundary, say, or the query's group fills the list) are searched exhaustively, a block of them at a time.

*Memory.* The features, one float32 copy of the gallery, the result, and blocks of bounded size: O(N (D + k)).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tvts_bench.neighbors.base import (
    BoolArray,
    Embedded,
    Float32Array,
    Float64Array,
    IntArray,
    NeighborError,
    Neighbors,
)
from tvts_bench.neighbors.candidates import Search, candidate_search, check_faiss
from tvts_bench.neighbors.exclusion import Exclusion
from tvts_bench.neighbors.rows import NANO, Rows, Shifted

MARGIN = 4  # candidates beyond k (and beyond what is excluded): enough that few queries are searched again
MOST_EXCLUDED = 256  # excluded items the first stage makes room for; a larger group is cheaper searched exhaustively
QUERIES_AT_ONCE = 4096
CANDIDATES_AT_ONCE = 4_000_000  # fewer queries where k is large: 100 MB of candidates
SCORES_AT_ONCE = 8_000_000  # float32 scores of an exhaustive block: 32 MB, and a copy
CROWDED = 0.25  # share of the gallery from which scoring all of it in order is quicker than picking
LAST = np.iinfo(np.int64).max  # sorts after every candidate


def nearest(
    queries: Embedded, gallery: Embedded, k: int, *, exclude_same_group: bool = False, device: str = "cpu"
) -> Neighbors:
    """The `k` nearest gallery clips of every query by cosine, ties by id; see the module for the exact definition.

    A query whose id is in the gallery does not find itself, whatever its position. With `exclude_same_group` neither
    does it find clips of its own group (None is no group). Where fewer than `k` are left, indices are -1.

    `device` only says where the first stage runs ("cpu", "cuda": all GPUs, "cuda:1"); the result is the same.

    Raises:
        FaissMissingError: FAISS is not installed, or twice.
        NeighborError: no query has `k` neighbours, features that are not finite or differ in width, repeated ids.
    """
    faiss = check_faiss()
    exclusion = Exclusion(queries, gallery, same_group=exclude_same_group)
    exclusion.require(k)
    if queries.values.shape[1] != gallery.values.shape[1]:
        raise NeighborError(
            f"queries have {queries.values.shape[1]} dimensions and the gallery {gallery.values.shape[1]}:"
            " both must come from the same backbone"
        )
    gallery_rows = Rows.of(gallery)
    query_rows = gallery_rows if queries.values is gallery.values else Rows.of(queries)
    shifted = Shifted.of(gallery_rows, np.arange(len(gallery.ids)), gallery_rows.mean_direction())
    ranks = np.empty(len(gallery.ids), dtype=np.int64)
    ranks[sorted(range(len(ranks)), key=gallery.ids.__getitem__)] = np.arange(len(ranks))
    indices = np.empty((len(query_rows.values), k), dtype=np.int64)
    similarities = np.empty(indices.shape, dtype=np.float32)
    with ThreadPoolExecutor(threads := faiss.omp_get_max_threads()) as pool:
        search = _Search(
            queries=query_rows,
            gallery=gallery_rows,
            shifted=shifted,
            exclusion=exclusion,
            ranks=ranks,
            k=k,
            find=candidate_search(shifted.values, device),
            pool=pool,
            threads=threads,
        )
        for rows in search.blocks():
            indices[rows], similarities[rows] = search.block(rows)
    return Neighbors(indices=indices, similarities=similarities)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """One search: the gallery in its two forms, and everything that decides about it."""

    queries: Rows
    gallery: Rows
    shifted: Shifted
    exclusion: Exclusion
    ranks: IntArray  # [N] place of each gallery id among all ids, sorted
    k: int
    find: Search
    pool: ThreadPoolExecutor
    threads: int

    @property
    def depth(self) -> int:
        """Candidates the first stage finds for each query."""
        excluded = int(np.quantile(self.exclusion.excluded, 0.9))
        return min(len(self.ranks), self.k + MARGIN + min(excluded, MOST_EXCLUDED))

    def blocks(self) -> Iterable[IntArray]:
        """Rows of queries that are searched together."""
        count = len(self.queries.values)
        size = max(1, min(QUERIES_AT_ONCE, CANDIDATES_AT_ONCE // self.depth)) if count else 1
        return (np.arange(start, min(start + size, count)) for start in range(0, count, size))

    def block(self, rows: IntArray) -> tuple[IntArray, Float32Array]:
        """Indices and similarities, [B, k] each, of the queries `rows` [B]."""
        same = self.queries is self.gallery
        shifted = self.shifted.take(rows) if same else Shifted.of(self.queries, rows, self.shifted.center)
        factors, offset = shifted.as_queries()
        error = self.shifted.error(shifted)
        products, found = self.find(factors, self.depth)
        cosines = self.spread(lambda part: self.gallery.nano_cosines(self.queries, rows[part], found[part]), len(rows))
        keys = self.keys(rows, found, cosines)
        order = np.argsort(keys, axis=1)[:, : self.k]
        indices, nanos = (np.take_along_axis(values, order, axis=1) for values in (found, cosines))
        taken = np.take_along_axis(keys, order, axis=1) < LAST
        estimates = products + offset[:, None]
        certain = self.certain(nanos, taken, estimates, error)
        # A device that computes in less than float32 breaks the bound, and is found out here.
        certain &= (np.abs(estimates - cosines / NANO) <= error[:, None]).all(axis=1)
        indices[~taken] = -1
        similarities = np.where(taken, nanos / NANO, np.nan).astype(np.float32)
        doubtful = np.flatnonzero(~certain)
        if len(doubtful):
            indices[doubtful], similarities[doubtful] = self.exhaustive(
                rows[doubtful], factors[doubtful], error[doubtful]
            )
        return indices, similarities

    def keys(self, rows: IntArray, found: IntArray, cosines: IntArray) -> IntArray:
        """Whole numbers that sort by falling cosine and then by id, with what may not be found last. [B, M]."""
        keys = self.ranks[found] - cosines * len(self.ranks)  # below 2^63 for galleries of up to nine billion
        keys[self.exclusion.mask(rows, found)] = LAST
        return keys

    def certain(self, nanos: IntArray, taken: BoolArray, estimates: Float64Array, error: Float64Array) -> BoolArray:
        """Whether nothing that the first stage left out could be among the first k of a query, [B]."""
        if estimates.shape[1] == len(self.ranks):
            return np.ones(len(nanos), dtype=np.bool_)
        best_left_out = estimates.min(axis=1) + error
        certain: BoolArray = taken[:, -1] & (nanos[:, -1] / NANO > best_left_out)
        return certain

    def exhaustive(self, rows: IntArray, factors: Float32Array, error: Float64Array) -> tuple[IntArray, Float32Array]:
        """The second search of queries `rows` [B]: over the whole gallery, however many are equal."""
        indices = np.full((len(rows), self.k), -1, dtype=np.int64)
        similarities = np.full(indices.shape, np.nan, dtype=np.float32)
        size = max(1, SCORES_AT_ONCE // len(self.ranks))
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            estimates = factors[block] @ self.shifted.values.T  # [b, N]
            for row, (found, nanos) in enumerate(self.firsts(rows[block], estimates, error[block]), start):
                indices[row, : len(found)] = found
                similarities[row, : len(found)] = nanos / NANO
        return indices, similarities

    def firsts(
        self, rows: IntArray, estimates: Float32Array, error: Float64Array
    ) -> Iterable[tuple[IntArray, IntArray]]:
        """Indices and cosines, at most k each, of every query in `rows` [B], from its estimates [B, N]."""
        possible = list(self.pool.map(self.possible, rows, estimates, error))
        crowded = np.flatnonzero([len(found) > len(self.ranks) * CROWDED for found in possible])
        every = self.spread(
            lambda part: self.gallery.nano_cosines_with_all(self.queries, rows[crowded[part]]), len(crowded)
        )
        place = {int(query): position for position, query in enumerate(crowded)}

        def first(query: int) -> tuple[IntArray, IntArray]:
            row, found = rows[query : query + 1], possible[query][None]
            known = place.get(query)
            cosines = self.gallery.nano_cosines(self.queries, row, found) if known is None else every[known, found]
            order = np.argsort(self.keys(row, found, cosines)[0])[: self.k]
            return found[0, order], cosines[0, order]

        return self.pool.map(first, range(len(rows)))

    def possible(self, row: int, estimates: Float32Array, error: float) -> IntArray:
        """The items that can be among the first k of query `row`, from its estimates [N] over the whole gallery."""
        everything = np.arange(len(estimates))
        left_out = self.exclusion.mask(np.array([row]), everything[None])[0]
        estimates = np.where(left_out, -np.inf, estimates)
        kth = np.partition(estimates, len(estimates) - self.k)[len(estimates) - self.k]
        # k items truly reach `kth - error`; what is estimated below `kth - 2 error` truly stays below that.
        return np.flatnonzero((estimates >= kth - 2 * error) & ~left_out)

    def spread(self, score: Callable[[IntArray], IntArray], count: int) -> IntArray:
        """`score` of positions 0 to `count`, in parallel."""
        return np.concatenate(list(self.pool.map(score, np.array_split(np.arange(count), self.threads))))
