"""Weighted k nearest neighbours: each votes for its class with exp(cosine / temperature), as DINO's evaluation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError
from tvts_bench.neighbors import EmbeddingSet, Neighbors, nearest
from tvts_bench.probes.base import (
    Fitted,
    Float32Array,
    FloatArray,
    IntArray,
    Task,
    best,
    choices,
    percent_right,
)


@dataclass(frozen=True, kw_only=True)
class KNN:
    """The head. Nothing is trained; only k is chosen."""

    ks: tuple[int, ...] = (20, 10, 100, 200)  # those tried, the first preferred where equal; larger ones are left out
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            raise UserError(f"the k of k-NN must be one or more different numbers from 1, got {list(self.ks)}")
        if not self.temperature > 0:
            raise UserError(f"the temperature of k-NN must be positive, got {self.temperature:g}")

    def possible(self, clips: int) -> tuple[int, ...]:
        """The k that a training set of so many clips allows; all of them where it allows none."""
        return tuple(k for k in self.ks if k <= clips) or (clips,)


def fit_knn(config: KNN, task: Task, *, device: str = "cpu") -> Fitted:
    """Votes of all training clips on the test clips, with the k that was best on the held-out part.

    A score is the logarithm of a class's share of all votes; a class without a vote is no answer (-inf).

    Args:
        config: the head.
        task: with features as they are.
        device: where candidates are searched; the result is the same.
    """
    ks = config.possible(len(task.parts.fit))
    accuracies = None
    if task.has_held:
        fit, held = task.fit, task.held
        neighbors = _nearest(held.values, fit.values, max(ks), device)
        votes = (vote(neighbors, fit.labels, task.num_classes, k=k, temperature=config.temperature) for k in ks)
        accuracies = tuple(percent_right(scores, held.labels) for scores in votes)
    chosen = 0 if accuracies is None else best(accuracies)
    neighbors = _nearest(task.test, task.train.values, ks[chosen], device)
    scores = vote(neighbors, task.train.labels, task.num_classes, k=ks[chosen], temperature=config.temperature)
    return Fitted(scores=scores, choices=choices(tuple(f"k={k}" for k in ks), accuracies, chosen))


def vote(neighbors: Neighbors, labels: IntArray, num_classes: int, *, k: int, temperature: float) -> FloatArray:
    """Log share of the votes of each query's first `k` neighbours, [Q, C]; -inf without a vote.

    Args:
        neighbors: of Q queries, at least `k` each.
        labels: class of each clip of the gallery, [N].
        num_classes: C.
        k: how many vote.
        temperature: of the weights; small ones let the nearest decide.
    """
    indices, cosines = neighbors.indices[:, :k], neighbors.similarities[:, :k].astype(np.float64)
    weights = np.exp((cosines - cosines[:, :1]) / temperature)  # relative to the nearest, so that nothing overflows
    cells = np.arange(len(indices))[:, None] * num_classes + labels[indices]
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=len(indices) * num_classes)
    shares: NDArray[np.float64] = votes.reshape(len(indices), num_classes) / weights.sum(axis=1, keepdims=True)
    return np.log(shares, out=np.full(shares.shape, -np.inf), where=shares > 0)


def _nearest(queries: Float32Array, gallery: Float32Array, k: int, device: str) -> Neighbors:
    """The search by row: clips of the two parts are different ones, so none is excluded."""
    return nearest(
        EmbeddingSet(ids=_names("query", len(queries)), values=queries),
        EmbeddingSet(ids=_names("clip", len(gallery)), values=gallery),
        k,
        device=device,
    )


def _names(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix} {index:09d}" for index in range(count))  # equal neighbours rank by their order
