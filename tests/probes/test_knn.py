"""Votes by hand, and against a direct computation."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.probe_tasks import clouds, nothing_held
from tvts_bench.errors import UserError
from tvts_bench.neighbors import Neighbors
from tvts_bench.probes.base import LabelledFeatures, Task, percent_right
from tvts_bench.probes.knn import KNN, fit_knn, vote

LABELS = np.array([0, 1, 1, 2])
FOUND = Neighbors(
    indices=np.array([[0, 1, 2], [3, 0, 1]]), similarities=np.array([[0.9, 0.8, 0.8], [1.0, 0.5, 0.5]], np.float32)
)


def test_near_ones_weigh_more_and_a_class_without_a_vote_is_no_answer() -> None:
    scores = vote(FOUND, LABELS, 4, k=3, temperature=0.1)
    e = np.exp(-1.0)  # (0.8 - 0.9) / 0.1
    expected = np.log([1 / (1 + 2 * e), 2 * e / (1 + 2 * e)])
    assert scores[0] == pytest.approx([*expected, -np.inf, -np.inf], rel=1e-5)
    assert scores[1].argmax() == 2


def test_only_the_first_k_vote() -> None:
    assert vote(FOUND, LABELS, 3, k=1, temperature=0.1).tolist() == [[0, -np.inf, -np.inf], [-np.inf, -np.inf, 0]]


def test_equals_a_direct_computation() -> None:
    task, labels = clouds(noise=1.5)
    fitted = fit_knn(KNN(ks=(15,)), task)
    rows, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (task.test, task.train.values))
    cosines = rows.astype(np.float64) @ gallery.T
    for query in range(20):
        nearest = np.argsort(-cosines[query])[:15]
        votes = np.zeros(task.num_classes)
        np.add.at(votes, task.train.labels[nearest], np.exp(cosines[query, nearest] / 0.07))
        assert np.exp(fitted.scores[query]) == pytest.approx(votes / votes.sum(), rel=1e-4)
    assert percent_right(fitted.scores, labels) > 50


def test_k_is_chosen_on_the_held_out_part() -> None:
    task, _ = clouds(noise=2.5)
    fitted = fit_knn(KNN(ks=(1, 20)), task)
    accuracies = {choice.setting: choice.accuracy for choice in fitted.choices}
    assert fitted.chosen.accuracy == max(value for value in accuracies.values() if value is not None)
    assert fitted.chosen.setting == "k=20"  # clouds that overlap need many votes
    again = fit_knn(KNN(ks=(1, 20)), replace(task, test=task.test[:3]))
    assert again.choices == fitted.choices  # whatever the test set


@pytest.mark.parametrize(("clips", "ks"), [(5, (5,)), (10, (10,)), (60, (20, 10)), (500, (20, 10, 100, 200))])
def test_k_is_never_larger_than_the_training_set(clips: int, ks: tuple[int, ...]) -> None:
    assert KNN().possible(clips) == ks


def test_equal_ids_in_both_splits_hide_nothing() -> None:
    """Training clip 0 may be what test clip 0 finds: the two are numbered apart."""
    train = LabelledFeatures(values=np.eye(3, dtype=np.float32), labels=np.arange(3))
    fitted = fit_knn(KNN(ks=(1,)), Task(train=train, parts=nothing_held(3), test=train.values, num_classes=3))
    assert fitted.scores.argmax(axis=1).tolist() == [0, 1, 2]
    assert fitted.chosen.accuracy is None


@pytest.mark.parametrize(("ks", "temperature"), [((), 1), ((0,), 1), ((5, 5), 1), ((5,), 0), ((5,), float("nan"))])
def test_nonsense_is_refused(ks: tuple[int, ...], temperature: float) -> None:
    with pytest.raises(UserError, match="k-NN must be"):
        KNN(ks=ks, temperature=temperature)
