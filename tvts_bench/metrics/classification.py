"""Classification metrics: top-K accuracy, mean class accuracy, the confusion matrix; which definition each is.

Scores are [N, C], larger is better; classes rank by falling score, equal ones by class index. A score of -inf is no
answer: a class that a head has never seen, or that no neighbour voted for, is never a hit.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.errors import UserError
from tvts_bench.metrics.significance import Interval

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def ranks_of_truth(scores: ArrayLike, labels: ArrayLike) -> IntArray:
    """How many classes rank before the true one, [N]: 0 is right at once. C where the true class is no answer.

    Raises:
        UserError: no clip, a score that is NaN, or a label outside 0..C-1.
    """
    scored, truth = np.asarray(scores), one_per_clip(labels)
    assert scored.ndim == 2, f"scores must be [N, C], got {scored.shape}"
    assert len(scored) == len(truth), f"{len(scored)} rows of scores for {len(truth)} labels"
    num_classes = scored.shape[1]
    if not len(truth):
        raise UserError("there is no clip to measure accuracy with")
    if np.isnan(scored).any():
        raise UserError(f"{int(np.isnan(scored).any(axis=1).sum())} clips have scores that are not numbers")
    require_labels(truth, num_classes)
    own = scored[np.arange(len(truth)), truth][:, None]
    before = (scored > own) | ((scored == own) & (np.arange(num_classes) < truth[:, None]))
    ranks: IntArray = np.where(np.isneginf(own[:, 0]), num_classes, before.sum(axis=1))
    return ranks


def correct_at_k(scores: ArrayLike, labels: ArrayLike, k: int = 1) -> BoolArray:
    """Whether the true class is among the first `k` of each clip, [N].

    Args:
        scores: larger is better, [N, C].
        labels: class of each clip, [N].
        k: how many classes count.

    Raises:
        UserError: see `ranks_of_truth`.
    """
    assert k >= 1, k
    correct: BoolArray = ranks_of_truth(scores, labels) < k
    return correct


def predictions(scores: ArrayLike) -> IntArray:
    """The first class of each clip, [N]."""
    return np.asarray(np.argmax(np.asarray(scores), axis=1), dtype=np.int64)


def class_accuracies(hits: ArrayLike, labels: ArrayLike, num_classes: int) -> FloatArray:
    """Mean of `hits` over the clips of each class, [C]; NaN for a class without any.

    Args:
        hits: of each clip, in 0..1, [N].
        labels: class of each clip, [N].
        num_classes: C.
    """
    truth = one_per_clip(labels)
    counts = np.bincount(truth, minlength=num_classes)
    total = np.bincount(truth, weights=np.asarray(hits, dtype=np.float64), minlength=num_classes)
    means: FloatArray = np.divide(total, counts, out=np.full(num_classes, np.nan), where=counts > 0)
    return means


def mean_class_accuracy(hits: ArrayLike, labels: ArrayLike, num_classes: int) -> float:
    """Mean over classes of the mean of `hits` within each, in 0..1; classes without a clip are left out.

    Args:
        hits: of each clip, in 0..1, [N].
        labels: class of each clip, [N].
        num_classes: C.
    """
    return float(np.nanmean(class_accuracies(hits, labels, num_classes)))


def mean_class_interval(
    hits: ArrayLike, labels: ArrayLike, num_classes: int, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of `mean_class_accuracy`, clips drawn anew within their class (stratified).

    As for `bootstrap_interval`: for fixed weights and a fixed training set; and a class of one clip adds no spread.

    Args:
        hits: of each clip, in 0..1, [N]; fractions are means over seeds.
        labels: class of each clip, [N].
        num_classes: C.
        seed: of the resampling.
        resamples: how many.
        level: of the interval, 0..1.
    """
    values, truth = np.asarray(hits, dtype=np.float64), one_per_clip(labels)
    present = np.unique(truth)
    rng = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for label in present:
        own = values[truth == label]
        if np.isin(own, (0, 1)).all():  # how many hits a resample holds is binomial
            total += rng.binomial(len(own), own.mean(), size=resamples) / len(own)
        else:
            total += own[rng.integers(len(own), size=(resamples, len(own)))].mean(axis=1)
    low, high = np.quantile(total / len(present), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def confusion_counts(labels: ArrayLike, predicted: ArrayLike, num_classes: int) -> IntArray:
    """Clips of class i (row) that were called j (column), [C, C].

    Args:
        labels: class of each clip, [N].
        predicted: the class it was called, [N].
        num_classes: C.
    """
    cells = one_per_clip(labels) * num_classes + one_per_clip(predicted)
    counts: IntArray = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts


def chance_at_k(num_classes: int, k: int) -> float:
    """Percent of clips that a random ranking of `num_classes` classes has right within the first `k`."""
    return 100 * min(k, num_classes) / num_classes


def require_labels(labels: ArrayLike, num_classes: int) -> None:
    """Refuse labels that are no class.

    Raises:
        UserError: with the first such label.
    """
    truth = one_per_clip(labels)
    outside = np.flatnonzero((truth < 0) | (truth >= num_classes))
    if len(outside):
        raise UserError(
            f"{len(outside)} of {len(truth)} labels are no class: the first is {truth[outside[0]]},"
            f" and there are {num_classes} classes, from 0 to {num_classes - 1}"
        )


def one_per_clip(labels: ArrayLike) -> IntArray:
    """Labels as int64, one-dimensional."""
    array = np.asarray(labels, dtype=np.int64)
    assert array.ndim == 1, f"labels must be one-dimensional, got {array.shape}"
    return array
