"""From the scores that a classifier gives test clips (one set per seed) to metrics, and to tables for files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.metrics.classification import (
    chance_at_k,
    class_accuracies,
    confusion_counts,
    correct_at_k,
    mean_class_accuracy,
    mean_class_interval,
    predictions,
)
from tvts_bench.metrics.measured import Metric
from tvts_bench.metrics.significance import Interval, bootstrap_interval

TOP_5_NEEDS = 6  # classes; with five, every ranking is right


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierScores:
    """The scores of one classifier, trained with one seed."""

    condition: str  # the head or set-up: "linear", "fine-tuned"
    scores: NDArray[np.floating[Any]]  # [N, C]; larger is better, -inf is no answer
    seed: int = 0


def summarise(
    runs: Sequence[ClassifierScores], labels: NDArray[np.int64], num_classes: int | None = None
) -> list[Metric]:
    """Top-1, top-5 (of six classes or more) and mean class accuracy, in percent, of one condition.

    The value is the mean over the seeds; the interval is over test clips, each clip's hits averaged over the seeds.

    Args:
        runs: one per seed.
        labels: of the test clips, [N].
        num_classes: how many classes can be answered, for chance; None: as many as there are scores.

    Raises:
        UserError: scores that are NaN, labels that are no class.
    """
    total = runs[0].scores.shape[1]
    chosen_from = total if num_classes is None else num_classes

    def metric(name: str, values: Iterable[float], interval: Interval, k: int) -> Metric:
        chance = chance_at_k(chosen_from, k)
        return Metric.over_seeds(name, runs[0].condition, tuple(100 * value for value in values), interval, chance)

    ks = (1, 5) if total >= TOP_5_NEEDS else (1,)
    hits = {k: [correct_at_k(one.scores, labels, k).astype(np.float64) for one in runs] for k in ks}
    metrics = [
        metric(f"top-{k}", (float(one.mean()) for one in of_k), bootstrap_interval(np.mean(of_k, axis=0)), k)
        for k, of_k in hits.items()
    ]
    by_class = mean_class_interval(np.mean(hits[1], axis=0), labels, total)
    means = (mean_class_accuracy(one, labels, total) for one in hits[1])
    return [*metrics, metric("mean class accuracy", means, by_class, 1)]


def classification_tables(
    runs: Sequence[ClassifierScores], ids: Sequence[str], labels: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """`logits` (one row per clip, condition and seed); `per_class` and `confusion` (over all seeds of a condition).

    Args:
        runs: of all conditions and seeds.
        ids: of the test clips, [N].
        labels: of the test clips, [N].
        class_names: [C].
    """
    conditions = list(dict.fromkeys(one.condition for one in runs))
    of = {condition: [one for one in runs if one.condition == condition] for condition in conditions}
    return {
        "logits": _stacked(_logits(one, ids, labels) for one in runs),
        "per_class": _stacked(_per_class(of[condition], labels, class_names) for condition in conditions),
        "confusion": _stacked(_confusion(of[condition], labels, class_names) for condition in conditions),
    }


def _logits(one: ClassifierScores, ids: Sequence[str], labels: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "condition": [one.condition] * len(ids),
        "seed": [one.seed] * len(ids),
        "id": list(ids),
        "label": labels.tolist(),
        "predicted": predictions(one.scores).tolist(),
        "logits": list(one.scores.astype(np.float32)),
    }


def _per_class(
    runs: Sequence[ClassifierScores], labels: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """One row per class that has test clips; accuracy in percent, a mean over the seeds."""
    count = len(class_names)
    hits = np.mean([correct_at_k(one.scores, labels) for one in runs], axis=0)
    accuracies = 100 * class_accuracies(hits, labels, count)
    clips = np.bincount(labels, minlength=count)
    rows = np.flatnonzero(clips).tolist()
    return {
        "condition": [runs[0].condition] * len(rows),
        "label": rows,
        "class": [class_names[row] for row in rows],
        "clips": clips[rows].tolist(),
        "accuracy": accuracies[rows].tolist(),
    }


def _confusion(
    runs: Sequence[ClassifierScores], labels: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """One row per pair of classes that occurs: the true one, the one answered, and how many clips (of all seeds)."""
    counts = sum(confusion_counts(labels, predictions(one.scores), len(class_names)) for one in runs)
    assert isinstance(counts, np.ndarray)
    true, answered = (indices.tolist() for indices in np.nonzero(counts))
    return {
        "condition": [runs[0].condition] * len(true),
        "label": true,
        "class": [class_names[row] for row in true],
        "predicted": answered,
        "predicted_class": [class_names[row] for row in answered],
        "clips": counts[true, answered].tolist(),
    }


def _stacked(tables: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Tables of the same columns, one below the other."""
    listed = list(tables)
    return {column: [value for table in listed for value in table[column]] for column in listed[0]}
