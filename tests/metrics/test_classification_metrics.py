"""Accuracy by hand, on cases small enough to check by eye, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from tvts_bench.errors import UserError
from tvts_bench.metrics.classification import (
    chance_at_k,
    class_accuracies,
    confusion_counts,
    correct_at_k,
    mean_class_accuracy,
    mean_class_interval,
    predictions,
    ranks_of_truth,
)

INF = float("inf")


def test_a_clip_is_right_at_k_if_its_class_is_among_the_first_k() -> None:
    scores = [[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]]
    labels = [1, 2, 0]
    assert ranks_of_truth(scores, labels).tolist() == [0, 1, 2]
    assert correct_at_k(scores, labels, 1).tolist() == [True, False, False]
    assert correct_at_k(scores, labels, 2).tolist() == [True, True, False]


def test_equal_scores_rank_by_class_index_as_the_prediction_does() -> None:
    scores = [[1.0, 1.0, 1.0]] * 3
    assert predictions(scores).tolist() == [0, 0, 0]
    assert ranks_of_truth(scores, [0, 1, 2]).tolist() == [0, 1, 2]


def test_no_answer_is_never_a_hit_even_where_all_else_is_none_either() -> None:
    scores = [[-INF, 0.0, -INF, -INF, -INF, -INF]] * 2
    assert correct_at_k(scores, [0, 1], 5).tolist() == [False, True]


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([[0.0, np.nan]], [0], "1 clips have scores that are not numbers"),
        ([[0.0, 1.0]], [2], "the first is 2, and there are 2 classes"),
        ([[0.0, 1.0]], [-1], "the first is -1"),
        (np.empty((0, 2)), [], "no clip"),
    ],
)
def test_what_has_no_accuracy_is_refused(scores: NDArray[np.float64], labels: list[int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        correct_at_k(scores, labels)


def test_mean_class_accuracy_weighs_classes_and_not_clips() -> None:
    hits, labels = [1, 1, 1, 0], [0, 0, 0, 2]
    assert class_accuracies(hits, labels, 3).tolist() == pytest.approx([1, np.nan, 0], nan_ok=True)
    assert mean_class_accuracy(hits, labels, 3) == 0.5  # 75 % of the clips


def test_the_confusion_matrix_has_a_row_a_true_class() -> None:
    assert confusion_counts([0, 0, 1], [1, 0, 1], 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_chance_is_a_random_ranking() -> None:
    assert chance_at_k(174, 1) == pytest.approx(0.5747, abs=1e-4)
    assert chance_at_k(8, 5) == 62.5
    assert chance_at_k(3, 5) == 100


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(1, 60), st.integers(0, 2**16))
def test_agrees_with_scikit_learn(num_classes: int, clips: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(clips, num_classes)), rng.integers(num_classes, size=clips)
    said = predictions(scores)
    for k in (1, num_classes - 1):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(num_classes)) if num_classes > 2 else None
        if expected is not None:
            assert correct_at_k(scores, labels, k).mean() == pytest.approx(expected)
    assert np.array_equal(
        confusion_counts(labels, said, num_classes), confusion_matrix(labels, said, labels=range(num_classes))
    )
    present = np.isin(said, labels)  # scikit-learn warns of answers that are no true class
    if present.all():
        assert mean_class_accuracy(said == labels, labels, num_classes) == pytest.approx(
            balanced_accuracy_score(labels, said)
        )


def test_the_interval_covers_the_mean_over_classes_as_often_as_it_says() -> None:
    """Three classes of 10, 40 and 200 clips with known rates: 95 % of intervals hold the truth, give or take."""
    sizes, rates = (10, 40, 200), (0.5, 0.7, 0.3)
    labels = np.repeat(np.arange(3), sizes)
    rng = np.random.default_rng(0)
    held = 0
    for draw in range(200):
        hits = rng.random(len(labels)) < np.repeat(rates, sizes)
        interval = mean_class_interval(hits, labels, 3, seed=draw, resamples=400)
        held += int(interval.low <= np.mean(rates) <= interval.high)
    assert 0.88 <= held / 200 <= 0.99


def test_the_interval_of_fractions_is_that_of_their_means() -> None:
    hits, labels = np.array([0.5, 0.5, 1.0]), np.array([0, 0, 1])
    interval = mean_class_interval(hits, labels, 2)
    assert (interval.low, interval.high) == (0.75, 0.75)
