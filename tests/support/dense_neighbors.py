"""Independent answers to compare with: dense, slow and short."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tvts_bench.neighbors import EmbeddingSet


def may_find(queries: EmbeddingSet, gallery: EmbeddingSet, query: int, item: int, *, same_group: bool) -> bool:
    """The rule of exclusion, a pair at a time."""
    if queries.ids[query] == gallery.ids[item]:
        return False
    if not same_group or queries.groups is None or gallery.groups is None or queries.groups[query] is None:
        return True
    return queries.groups[query] != gallery.groups[item]


def first_k(
    scores: Sequence[Sequence[Fraction]] | NDArray[np.float64],
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    k: int,
    *,
    same_group: bool = False,
) -> NDArray[np.int64]:
    """The first k of every query by score and then id, -1 where fewer are left. [Q, k]."""
    rows = []
    for query, row in enumerate(scores):
        left = [i for i in range(len(gallery.ids)) if may_find(queries, gallery, query, i, same_group=same_group)]
        left.sort(key=lambda item: gallery.ids[item])
        left.sort(key=lambda item: row[item], reverse=True)
        rows.append((left + [-1] * k)[:k])
    return np.array(rows, dtype=np.int64).reshape(len(rows), k)


def exact_scores(queries: EmbeddingSet, gallery: EmbeddingSet) -> list[list[Fraction]]:
    """Cosine squared with its sign, of integer features, in rational numbers: no rounding at all. [Q][N]."""
    scores = []
    for a in queries.values.astype(int).tolist():
        row = []
        for b in gallery.values.astype(int).tolist():
            dot, lengths = sum(map(int.__mul__, a, b)), sum(x * x for x in a) * sum(x * x for x in b)
            row.append(Fraction(abs(dot) * dot, lengths) if lengths else Fraction(0))
        scores.append(row)
    return scores


def dense_scores(queries: EmbeddingSet, gallery: EmbeddingSet) -> NDArray[np.float64]:
    """The full matrix of cosines in float64, to nine decimals. [Q, N]."""
    units = [np.asarray(side.values, dtype=np.float64) for side in (queries, gallery)]
    units = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in units]
    return np.round(units[0] @ units[1].T, 9) + 0.0
