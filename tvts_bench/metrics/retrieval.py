"""Retrieval metrics: Recall@K as the paper defines it, mAP@R, and what a random ranking would reach.

Neighbours are positions in the gallery, best first, [Q, K], -1 where a query has fewer; labels are class indices [Q]
and [N]. What is excluded (the query itself, its group) is not in the neighbours; `num_candidates` and
`num_relevant` count the rest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.errors import UserError
from tvts_bench.metrics.classification import BoolArray, FloatArray, IntArray, one_per_clip
from tvts_bench.metrics.significance import Difference, paired_difference

Groups = Sequence[str | None]

DEFAULT_KS = (1, 5, 10)


def num_relevant(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    same_set: bool | BoolArray,
    query_groups: Groups | None = None,
    gallery_groups: Groups | None = None,
) -> IntArray:
    """R: how many gallery items of its own class each query may find, [Q].

    Args:
        query_labels: class of each query, [Q].
        gallery_labels: class of each gallery item, [N].
        same_set: whether a query is itself in the gallery, and so removed from it: one answer for all, or [Q].
        query_groups: given with `gallery_groups` where items of the query's own group are excluded; None is no group.
        gallery_groups: the gallery's groups, [N].
    """
    queries, gallery = one_per_clip(query_labels), one_per_clip(gallery_labels)
    class_sizes = Counter(gallery.tolist())
    everything = np.array([class_sizes[label] for label in queries.tolist()], dtype=np.int64)
    if query_groups is None or gallery_groups is None:
        return everything - _excluded(same_set, None, np.zeros_like(queries))
    sizes = Counter(zip(gallery.tolist(), gallery_groups, strict=True))
    in_group = [sizes[pair] for pair in zip(queries.tolist(), query_groups, strict=True)]
    return everything - _excluded(same_set, query_groups, np.array(in_group, dtype=np.int64))


def num_candidates(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    same_set: bool | BoolArray,
    query_groups: Groups | None = None,
    gallery_groups: Groups | None = None,
) -> IntArray:
    """How many gallery items of any class each query may find, [Q].

    Args:
        query_labels: as all others, that of `num_relevant`.
        gallery_labels: see there.
        same_set: see there.
        query_groups: see there.
        gallery_groups: see there.
    """
    one_class = np.zeros_like(one_per_clip(query_labels)), np.zeros_like(one_per_clip(gallery_labels))
    return num_relevant(*one_class, same_set=same_set, query_groups=query_groups, gallery_groups=gallery_groups)


def any_hits(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, ks: Sequence[int] = DEFAULT_KS
) -> dict[int, BoolArray]:
    """For each K, whether any of a query's first K neighbours shares its class. Values [Q].

    This is the "Recall@K" of the paper and of metric learning, not the textbook's fraction of relevant items found.

    Args:
        neighbors: positions in the gallery, best first, [Q, K]; -1 where there are fewer.
        query_labels: class of each query, [Q].
        gallery_labels: class of each gallery item, [N].
        ks: the ranks.

    Raises:
        UserError: a K that is not positive or larger than the number of neighbours.
    """
    hits = _matches(neighbors, query_labels, gallery_labels)
    for k in ks:
        if not 1 <= k <= hits.shape[1]:
            raise UserError(f"Recall@{k} needs K from 1 to {hits.shape[1]}, the number of neighbours searched")
    return {k: np.any(hits[:, :k], axis=1) for k in ks}


def recall_at_k(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, ks: Sequence[int] = DEFAULT_KS
) -> dict[int, float]:
    """Percent of queries with a same-class item among the first K (any hit).

    Args:
        neighbors: as for `any_hits`.
        query_labels: class of each query, [Q].
        gallery_labels: class of each gallery item, [N].
        ks: the ranks.
    """
    hits = any_hits(neighbors, query_labels, gallery_labels, ks)
    return {k: 100 * float(hit.mean()) for k, hit in hits.items()}


def average_precision_at_r(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, relevant: IntArray
) -> FloatArray:
    """AP@R of each query in 0..1, [Q]: with R = `relevant`, (1/R) * sum over ranks i <= R of precision(i) * hit(i).

    NaN for a query with R = 0.

    Args:
        neighbors: positions in the gallery, best first, [Q, K]; -1 where there are fewer.
        query_labels: class of each query, [Q].
        gallery_labels: class of each gallery item, [N].
        relevant: R of each query, [Q]; see `num_relevant`.

    Raises:
        UserError: fewer neighbours than the largest R.

    Source: Musgrave et al., "A Metric Learning Reality Check" (2020).
    """
    hits = _matches(neighbors, query_labels, gallery_labels)
    most = int(relevant.max(initial=0))
    if most > hits.shape[1]:
        raise UserError(f"mAP@R needs {most} neighbours, the size of the largest class, got {hits.shape[1]}")
    ranks = np.arange(1, most + 1)
    hits = hits[:, :most] & (ranks <= relevant[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    total = np.einsum("qr,qr->q", precision, hits)
    values: FloatArray = np.divide(total, relevant, out=np.full(len(hits), np.nan), where=relevant > 0)
    return values


def chance_recall(relevant: IntArray, candidates: IntArray, ks: Sequence[int] = DEFAULT_KS) -> dict[int, float]:
    """Expected Recall@K, in percent, of a ranking drawn at random for each query; exact, not simulated.

    K items drawn from n without replacement miss all R relevant ones with probability C(n-R, K) / C(n, K).

    Args:
        relevant: R of each query, [Q]; see `num_relevant`.
        candidates: n of each query, [Q]; see `num_candidates`.
        ks: the ranks.
    """
    return {k: 100 * float((1 - _miss_probability(relevant, candidates, k)).mean()) for k in ks}


def recall_of_queries(table: Mapping[str, NDArray[Any]], k: int) -> dict[str, float]:
    """Of each query in a table of neighbours, the share of seeds with a hit among the first `k`, by id."""
    queries, rows = np.unique(table["query"], return_inverse=True)
    seeds = np.unique(table["seed"])
    hits = np.zeros((len(queries), len(seeds)))
    first = np.flatnonzero(table["hit"] & (table["rank"] <= k))
    hits[rows[first], np.searchsorted(seeds, table["seed"][first])] = 1
    return dict(zip(queries.tolist(), hits.mean(axis=1).tolist(), strict=True))


def recall_difference(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]], k: int) -> Difference:
    """R@`k` of one table of neighbours less that of another, in percent, over the queries that are in both.

    Args:
        first: a table of neighbours, at least `k` of each query.
        second: another, in the same columns.
        k: of Recall@K.
    """
    ours, theirs = recall_of_queries(first, k), recall_of_queries(second, k)
    both = [query for query in ours if query in theirs]
    return paired_difference([100 * ours[query] for query in both], [100 * theirs[query] for query in both])


def _miss_probability(relevant: IntArray, total: IntArray, k: int) -> FloatArray:
    """Chance that `k` draws from each query's `total` candidates hit none of the `relevant` ones, [Q]."""
    missed = np.ones(len(total))
    for drawn in range(k):
        # A query with fewer than k candidates finds all of them, so draws beyond the last change nothing.
        left = np.maximum(total - drawn, 1)
        missed *= np.where(drawn < total, np.maximum(total - relevant - drawn, 0) / left, 1)
    return missed


def _excluded(same_set: bool | BoolArray, query_groups: Groups | None, in_group: IntArray) -> IntArray:
    """Items taken away from each query: the query itself, or its group, to which it belongs. [Q]."""
    itself = np.broadcast_to(np.asarray(same_set, dtype=np.int64), in_group.shape)
    if query_groups is None:
        return itself
    grouped = np.array([group is not None for group in query_groups], dtype=np.bool_)
    return np.where(grouped, in_group, itself)


def _matches(neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike) -> BoolArray:
    """Whether each neighbour shares its query's class, [Q, K]; False where there is no neighbour."""
    nearest, queries, gallery = np.asarray(neighbors), one_per_clip(query_labels), one_per_clip(gallery_labels)
    assert nearest.ndim == 2, f"neighbours must be [Q, K], got {nearest.shape}"
    assert len(nearest) == len(queries), f"{len(nearest)} rows of neighbours for {len(queries)} queries"
    if not len(queries):
        raise UserError("there is no query to measure retrieval with")
    matches: BoolArray = (gallery[nearest] == queries[:, None]) & (nearest >= 0)
    return matches
