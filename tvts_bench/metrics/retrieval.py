"""Retrieval metrics: Recall@K as the paper defines it, mAP@R, and what a random ranking would reach.

Neighbours are positions in the gallery, best first, [Q, K], -1 where a query has fewer; labels are class indices [Q] and
[N]. What may not be found (the query itself, its group) is not in the neighbours, and `candidates` counts the rest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.errors import UserError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Groups = Sequence[str | None]

DEFAULT_KS = (1, 5, 10)


class MetricError(UserError):
    """A metric that is not defined for what it was given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What each query may find, once the query itself and (on request) its group are taken out of the gallery."""

    total: IntArray  # [Q] gallery items left
    relevant: IntArray  # [Q] of those, items of the query's class: the R of mAP@R


def candidates(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    same_set: bool | BoolArray,
    query_groups: Groups | None = None,
    gallery_groups: Groups | None = None,
) -> Candidates:
    """Count what is left of the gallery for each query.

    Args:
        query_labels: class of each query, [Q].
        gallery_labels: class of each gallery item, [N].
        same_set: whether a query is itself in the gallery, and so removed from it: one answer for all, or [Q].
        query_groups: with `gallery_groups`, when items of the query's own group are excluded; None is no group.
        gallery_groups: the gallery's groups, [N].
    """
    queries, gallery = _labels(query_labels), _labels(gallery_labels)
    itself = np.broadcast_to(np.asarray(same_set, dtype=np.int64), queries.shape)
    class_sizes = Counter(gallery.tolist())
    relevant = np.array([class_sizes[label] for label in queries.tolist()], dtype=np.int64)
    total = np.full(len(queries), len(gallery), dtype=np.int64)
    if query_groups is None or gallery_groups is None:
        assert query_groups is gallery_groups, "groups of only one side"
        return Candidates(total=total - itself, relevant=relevant - itself)
    group_sizes = Counter(gallery_groups)
    shared = Counter(zip(gallery.tolist(), gallery_groups, strict=True))
    grouped = np.array([group is not None for group in query_groups], dtype=np.bool_)
    in_group = np.array([group_sizes[group] for group in query_groups], dtype=np.int64)
    same_both = [shared[pair] for pair in zip(queries.tolist(), query_groups, strict=True)]
    return Candidates(
        total=total - np.where(grouped, in_group, itself),  # a query is in its own group: counted once
        relevant=relevant - np.where(grouped, np.array(same_both, dtype=np.int64), itself),
    )


def any_hits(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, ks: Sequence[int] = DEFAULT_KS
) -> dict[int, BoolArray]:
    """For each K, whether any of a query's first K neighbours shares its class. Values [Q].

    This is the "Recall@K" of the paper and of metric learning, not the textbook's fraction of relevant items found.

    Raises:
        MetricError: a K that is not positive or larger than the number of neighbours.
    """
    hits = _matches(neighbors, query_labels, gallery_labels)
    for k in ks:
        if not 1 <= k <= hits.shape[1]:
            raise MetricError(f"Recall@{k} needs K from 1 to {hits.shape[1]}, the number of neighbours searched")
    return {k: hits[:, :k].any(axis=1) for k in ks}


def recall_at_k(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, ks: Sequence[int] = DEFAULT_KS
) -> dict[int, float]:
    """Percent of queries with a same-class item among the first K (any hit; see `any_hits`)."""
    hits = any_hits(neighbors, query_labels, gallery_labels, ks)
    return {k: 100 * float(hit.mean()) for k, hit in hits.items()}


def average_precision_at_r(
    neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, relevant: IntArray
) -> FloatArray:
    """AP@R of each query in 0..1, [Q]: with R = `relevant`, (1/R) * sum over ranks i <= R of precision(i) * hit(i).

    The definition of Musgrave et al., "A Metric Learning Reality Check" (2020). NaN for a query with R = 0.

    Raises:
        MetricError: fewer neighbours than the largest R.
    """
    hits = _matches(neighbors, query_labels, gallery_labels)
    most = int(relevant.max(initial=0))
    if most > hits.shape[1]:
        raise MetricError(f"mAP@R needs {most} neighbours, the size of the largest class, got {hits.shape[1]}")
    ranks = np.arange(1, most + 1)
    hits = hits[:, :most] & (ranks <= relevant[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    total = np.einsum("qr,qr->q", precision, hits)
    return np.divide(total, relevant, out=np.full(len(hits), np.nan), where=relevant > 0)


def map_at_r(neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike, relevant: IntArray) -> float:
    """Mean AP@R in percent over the queries that have something to find; NaN when none has."""
    values = average_precision_at_r(neighbors, query_labels, gallery_labels, relevant)
    values = values[~np.isnan(values)]
    return 100 * float(values.mean()) if len(values) else float("nan")


def chance_recall(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    ks: Sequence[int] = DEFAULT_KS,
    *,
    same_set: bool | BoolArray,
    query_groups: Groups | None = None,
    gallery_groups: Groups | None = None,
) -> dict[int, float]:
    """Expected Recall@K, in percent, of a ranking drawn at random for each query; exact, not simulated.

    K items drawn from n without replacement miss all R relevant ones with probability C(n-R, K) / C(n, K).
    The arguments are those of `candidates`.
    """
    pool = candidates(
        query_labels, gallery_labels, same_set=same_set, query_groups=query_groups, gallery_groups=gallery_groups
    )
    return {k: 100 * float((1 - _miss_probability(pool, k)).mean()) for k in ks}


def _miss_probability(pool: Candidates, k: int) -> FloatArray:
    """Chance that none of `k` random candidates is relevant, [Q]: the product over draws of the irrelevant share left."""
    missed = np.ones(len(pool.total))
    for drawn in range(k):
        left = np.maximum(pool.total - drawn, 1)
        missed *= np.clip(pool.total - pool.relevant - drawn, 0, None) / left
    return missed


def _matches(neighbors: ArrayLike, query_labels: ArrayLike, gallery_labels: ArrayLike) -> BoolArray:
    """Whether each neighbour shares its query's class, [Q, K]; False where there is no neighbour."""
    found, queries, gallery = np.asarray(neighbors), _labels(query_labels), _labels(gallery_labels)
    assert found.ndim == 2, f"neighbours must be [Q, K], got {found.shape}"
    assert len(found) == len(queries), f"{len(found)} rows of neighbours for {len(queries)} queries"
    if not len(queries):
        raise MetricError("there is no query to measure retrieval with")
    return (gallery[found] == queries[:, None]) & (found >= 0)


def _labels(labels: ArrayLike) -> IntArray:
    """Labels as int64, one-dimensional."""
    array = np.asarray(labels, dtype=np.int64)
    assert array.ndim == 1, f"labels must be one-dimensional, got {array.shape}"
    return array
