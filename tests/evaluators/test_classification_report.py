"""From scores to metrics and tables."""

import numpy as np
import pytest

from tvts_bench.evaluators.classification_report import ClassifierScores, classification_tables, summarise
from tvts_bench.metrics.measured import Metric

LABELS = np.array([0, 0, 1, 2])
RIGHT = np.eye(6)[[0, 0, 1, 2]]
HALF = np.eye(6)[[0, 1, 1, 1]]  # one of the first class, and the third, are called the second


def values(metrics: list[Metric]) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics}


def test_one_seed_by_hand() -> None:
    metrics = summarise([ClassifierScores(condition="linear", scores=HALF)], LABELS)
    assert values(metrics) == {"top-1": 50, "top-5": 100, "mean class accuracy": 50}  # (1/2 + 1 + 0) / 3
    assert {metric.name: metric.chance for metric in metrics}["top-5"] == pytest.approx(500 / 6)
    assert all(metric.condition == "linear" and not metric.per_seed for metric in metrics)
    assert all(metric.low is not None and metric.low <= metric.value for metric in metrics)


def test_seeds_are_averaged_and_kept() -> None:
    said = [ClassifierScores(condition="linear", scores=scores, seed=seed) for seed, scores in enumerate((RIGHT, HALF))]
    top_1 = summarise(said, LABELS)[0]
    assert (top_1.value, top_1.per_seed) == (75, (100, 50))
    assert top_1.spread == pytest.approx(np.std([100, 50], ddof=1))


def test_five_classes_have_no_top_5_and_unseen_ones_no_part_in_chance() -> None:
    metrics = summarise([ClassifierScores(condition="linear", scores=np.eye(5)[LABELS])], LABELS, num_classes=4)
    assert {metric.name: metric.chance for metric in metrics} == {"top-1": 25, "mean class accuracy": 25}


def test_tables_hold_what_any_metric_can_be_computed_from() -> None:
    said = [ClassifierScores(condition="linear", scores=scores, seed=seed) for seed, scores in enumerate((RIGHT, HALF))]
    tables = classification_tables(said, ["a", "b", "c", "d"], LABELS, list("uvwxyz"))
    logits = tables["logits"]
    assert logits["id"] == ["a", "b", "c", "d"] * 2
    assert logits["seed"] == [0] * 4 + [1] * 4
    assert logits["predicted"] == [0, 0, 1, 2, 0, 1, 1, 1]
    assert np.array_equal(np.stack(logits["logits"]), np.concatenate([RIGHT, HALF]))
    assert tables["per_class"] == {
        "condition": ["linear"] * 3,
        "label": [0, 1, 2],
        "class": ["u", "v", "w"],
        "clips": [2, 1, 1],
        "accuracy": [75, 100, 50],
    }
    confusion = tables["confusion"]
    pairs = zip(confusion["class"], confusion["predicted_class"], confusion["clips"], strict=True)
    assert list(pairs) == [("u", "u", 3), ("u", "v", 1), ("v", "v", 2), ("w", "v", 1), ("w", "w", 1)]
