"""Exact cosine search in two stages, the same on every device.

*Definition.* Similarity is the cosine of two float32 rows, computed in float64 and rounded to nine decimals; a row of
zeros has similarity 0 to everything. Neighbours rank by falling similarity, equal ones by gallery id (code points). So
the result depends on ids and features alone: not on device, threads, or how the queries are cut into blocks.

*Stages.* FAISS searches flat in float32, and such sums differ in their last bits between machines and block sizes. So
it returns a few more than k; those are scored again in float64; and the error bound of the float32 search tells
whether anything it left out could belong to the first k. Queries where it could (because a hundred equal clips lie on
the boundary, say, or the query's group fills the list) are searched exhaustively, a block of them at a time.

*Memory.* The features, one float32 copy of the gallery, the result, and blocks of bounded size: O(N (D + k)).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tvts_bench.errors import UserError
from tvts_bench.neighbors.exact_scores import (
    NANO,
    BoolArray,
    EmbeddingSet,
    Float32Array,
    Float64Array,
    IntArray,
    Neighbors,
    Rows,
    Shifted,
)
from tvts_bench.neighbors.faiss_search import Search, candidate_search, check_faiss

MARGIN = 4  # candidates beyond k (and beyond what is excluded): enough that few queries are searched again
MOST_EXCLUDED = 256  # excluded items the first stage makes room for; a larger group is cheaper searched exhaustively
QUERIES_AT_ONCE = 4096
CANDIDATES_AT_ONCE = 4_000_000  # fewer queries where k is large: 100 MB of candidates
SCORES_AT_ONCE = 8_000_000  # float32 scores of an exhaustive block: 32 MB, and a copy
CROWDED = 0.25  # share of the gallery from which scoring all of it in order is quicker than picking
LAST = np.iinfo(np.int64).max  # sorts after every candidate


class Exclusion:
    """The gallery items taken away from each query."""

    def __init__(self, queries: EmbeddingSet, gallery: EmbeddingSet, *, same_group: bool) -> None:
        """Look up every query's own row and group in the gallery.

        Raises:
            UserError: the gallery holds an id twice, or groups are needed and missing.
        """
        row_of = {name: row for row, name in enumerate(gallery.ids)}
        if len(row_of) < len(gallery.ids):
            twice = next(name for name, count in Counter(gallery.ids).items() if count > 1)
            raise UserError(f"the gallery holds {twice!r} more than once: ids must be unique")
        self.own: IntArray = np.array([row_of.get(name, -1) for name in queries.ids], dtype=np.int64)  # [Q]
        self.excluded: IntArray = (self.own >= 0).astype(np.int64)  # [Q] how many items
        self.same_group = same_group
        self.gallery_size = len(gallery.ids)
        if same_group:
            self._exclude_groups(queries, gallery)

    def _exclude_groups(self, queries: EmbeddingSet, gallery: EmbeddingSet) -> None:
        if queries.groups is None or gallery.groups is None:
            side = "queries" if queries.groups is None else "gallery"
            raise UserError(f"same-group neighbours cannot be excluded: the {side} have no groups")
        codes = {group: code for code, group in enumerate(dict.fromkeys(gallery.groups)) if group is not None}
        self.gallery_group = np.array([codes.get(group, -1) for group in gallery.groups], dtype=np.int64)  # type: ignore[arg-type]
        self.query_group = np.array([codes.get(group, -2) for group in queries.groups], dtype=np.int64)  # type: ignore[arg-type]
        sizes = np.bincount(self.gallery_group + 1, minlength=len(codes) + 2)
        outside = (self.own >= 0) & (self.gallery_group[self.own] != self.query_group)
        self.excluded = np.where(self.query_group >= 0, sizes[self.query_group + 1], 0) + outside

    def require(self, k: int) -> None:
        """Refuse a K that no query can have.

        Raises:
            UserError: with the size of the gallery and of what is left of it.
        """
        if k < 1:
            raise UserError(f"--k must be at least 1, got {k}")
        left = self.gallery_size - int(self.excluded.min(initial=self.gallery_size))
        if len(self.own) and k > left:
            without = "without the query itself" + (" and its group" if self.same_group else "")
            detail = f", {left} {without}" if left < self.gallery_size else ""
            raise UserError(f"--k {k} is larger than the gallery: {self.gallery_size} clips{detail}")

    def mask(self, rows: IntArray, candidates: IntArray) -> BoolArray:
        """Whether `candidates` [B, M] (or [1, M] for all) are excluded for the queries `rows` [B]."""
        masked: BoolArray = candidates == self.own[rows, None]
        if self.same_group:
            masked |= self.gallery_group[candidates] == self.query_group[rows, None]
        return masked


def nearest(
    queries: EmbeddingSet, gallery: EmbeddingSet, k: int, *, exclude_same_group: bool = False, device: str = "cpu"
) -> Neighbors:
    """The `k` nearest gallery clips of every query by cosine, ties by id; see the module for the exact definition.

    A query whose id is in the gallery does not find itself, whatever its position. Where fewer than `k` are left,
    indices are -1.

    Args:
        queries: Q clips.
        gallery: N clips, of the same width.
        k: how many of each query.
        exclude_same_group: whether clips of the query's own group are left out, too (None is no group).
        device: where the first stage runs ("cpu", "cuda": all GPUs, "cuda:1"); the result is the same.

    Raises:
        UserError: FAISS is not installed, or twice.
        UserError: no query has `k` neighbours, features that are not finite or differ in width, repeated ids.
    """
    faiss = check_faiss()
    exclusion = Exclusion(queries, gallery, same_group=exclude_same_group)
    exclusion.require(k)
    if queries.values.shape[1] != gallery.values.shape[1]:
        raise UserError(
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
    ranks: IntArray  # [N] position of each gallery id among all ids, sorted
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
        products, candidates = self.find(factors, self.depth)
        cosines = self._spread(
            lambda part: self.gallery.nano_cosines(self.queries, rows[part], candidates[part]), len(rows)
        )
        keys = self._sort_keys(rows, candidates, cosines)
        order = np.argsort(keys, axis=1)[:, : self.k]
        indices, nanos = (np.take_along_axis(values, order, axis=1) for values in (candidates, cosines))
        taken = np.take_along_axis(keys, order, axis=1) < LAST
        estimates = products + offset[:, None]
        is_exact = self._is_exact(nanos, taken, estimates, error)
        # A device that computes in less than float32 breaks the bound, and is noticed here.
        is_exact &= (np.abs(estimates - cosines / NANO) <= error[:, None]).all(axis=1)
        indices[~taken] = -1
        similarities = np.where(taken, nanos / NANO, np.nan).astype(np.float32)
        doubtful = np.flatnonzero(~is_exact)
        if len(doubtful):
            indices[doubtful], similarities[doubtful] = self._exhaustive(
                rows[doubtful], factors[doubtful], error[doubtful]
            )
        return indices, similarities

    def _sort_keys(self, rows: IntArray, candidates: IntArray, cosines: IntArray) -> IntArray:
        """Whole numbers that sort by falling cosine and then by id, with excluded items last. [B, M]."""
        keys = self.ranks[candidates] - cosines * len(self.ranks)  # below 2^63 for galleries of up to nine billion
        keys[self.exclusion.mask(rows, candidates)] = LAST
        return keys

    def _is_exact(self, nanos: IntArray, taken: BoolArray, estimates: Float64Array, error: Float64Array) -> BoolArray:
        """Whether nothing that the first stage left out could be among the first k of a query, [B]."""
        if estimates.shape[1] == len(self.ranks):
            return np.ones(len(nanos), dtype=np.bool_)
        best_left_out = estimates.min(axis=1) + error
        is_exact: BoolArray = taken[:, -1] & (nanos[:, -1] / NANO > best_left_out)
        return is_exact

    def _exhaustive(self, rows: IntArray, factors: Float32Array, error: Float64Array) -> tuple[IntArray, Float32Array]:
        """The second search of queries `rows` [B]: over the whole gallery, however many are equal."""
        indices = np.full((len(rows), self.k), -1, dtype=np.int64)
        similarities = np.full(indices.shape, np.nan, dtype=np.float32)
        size = max(1, SCORES_AT_ONCE // len(self.ranks))
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            estimates = factors[block] @ self.shifted.values.T  # [b, N]
            for row, (ranked, nanos) in enumerate(self._rerank(rows[block], estimates, error[block]), start):
                indices[row, : len(ranked)] = ranked
                similarities[row, : len(ranked)] = nanos / NANO
        return indices, similarities

    def _rerank(
        self, rows: IntArray, estimates: Float32Array, error: Float64Array
    ) -> Iterable[tuple[IntArray, IntArray]]:
        """Indices and cosines, at most k each, of every query in `rows` [B], from its estimates [B, N]."""
        candidates = list(self.pool.map(self._candidate_rows, rows, estimates, error))
        crowded = np.flatnonzero([len(own) > len(self.ranks) * CROWDED for own in candidates])
        every = self._spread(
            lambda part: self.gallery.nano_cosines_with_all(self.queries, rows[crowded[part]]), len(crowded)
        )
        row_of = {int(query): row for row, query in enumerate(crowded)}

        def ranked(query: int) -> tuple[IntArray, IntArray]:
            row, own = rows[query : query + 1], candidates[query][None]
            cosines = (
                every[[row_of[query]], own] if query in row_of else self.gallery.nano_cosines(self.queries, row, own)
            )
            order = np.argsort(self._sort_keys(row, own, cosines)[0])[: self.k]
            return own[0, order], cosines[0, order]

        return self.pool.map(ranked, range(len(rows)))

    def _candidate_rows(self, row: int, estimates: Float32Array, error: float) -> IntArray:
        """The items that can be among the first k of query `row`, from its estimates [N] over the whole gallery."""
        everything = np.arange(len(estimates))
        left_out = self.exclusion.mask(np.array([row]), everything[None])[0]
        estimates = np.where(left_out, -np.inf, estimates)
        kth = np.partition(estimates, len(estimates) - self.k)[len(estimates) - self.k]
        # k items truly reach `kth - error`; what is estimated below `kth - 2 error` truly stays below that.
        return np.flatnonzero((estimates >= kth - 2 * error) & ~left_out)

    def _spread(self, score: Callable[[IntArray], IntArray], count: int) -> IntArray:
        """`score` of positions 0 to `count`, in parallel."""
        return np.concatenate(list(self.pool.map(score, np.array_split(np.arange(count), self.threads))))
