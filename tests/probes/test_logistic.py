"""Two solvers, one optimum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from tests.support.probe_tasks import clouds, nothing_held
from tvts_bench.errors import UserError
from tvts_bench.probes.base import HeldOut, LabelledFeatures, Task, percent_right
from tvts_bench.probes.logistic import Logistic, Solver, fit_logistic, num_fits

EXACT = Logistic(tolerance=1e-7, choosing_tolerance=1e-7)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_both_solvers_find_the_same_optimum(classes: int, noise: float) -> None:
    task, labels = clouds(classes=classes, noise=noise)
    sklearn, torch_ = (fit_logistic(replace(EXACT, solver=solver), task) for solver in ("sklearn", "torch"))
    assert sklearn.chosen == torch_.chosen
    assert sklearn.scores == pytest.approx(torch_.scores, abs=2e-3)
    agree = (sklearn.scores.argmax(axis=1) == torch_.scores.argmax(axis=1)).mean()
    assert agree >= 0.995
    assert percent_right(sklearn.scores, labels) > 1.5 * 100 / classes


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
def test_the_gradient_of_the_written_objective_vanishes(solver: Solver) -> None:
    """1/2 ||W||^2 + C * sum of cross-entropies: the scores of the training clips give its gradient by the weights."""
    task, _ = clouds(classes=3)
    task = replace(task, test=task.train.values, parts=nothing_held(len(task.train)))
    scores = fit_logistic(replace(EXACT, cs=(0.05,), solver=solver), task).scores
    values = np.column_stack([task.train.values.astype(np.float64), np.ones(len(task.train))])
    weights = np.linalg.lstsq(values, scores, rcond=None)[0].T  # [C, D + 1], the last column is the bias
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    error = odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[task.train.labels]
    gradient = weights[:, :-1] + 0.05 * error.T @ values[:, :-1]
    assert np.abs(gradient).max() < 1e-3
    assert np.abs(error.sum(axis=0)).max() < 1e-4  # biases are free


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_optimum_is_reached_where_classes_can_be_separated(solver: Solver, classes: int) -> None:
    """There the gradient is small long before: a fixed limit of 3e-5 leaves scores that are 3 to 10 % off."""
    task, _ = clouds(classes=classes, noise=0.2, clips=100, dimensions=60)
    task = replace(task, parts=nothing_held(len(task.train)))
    default, exact = (fit_logistic(replace(config, cs=(100.0,), solver=solver), task) for config in (Logistic(), EXACT))
    assert not exact.notes
    assert np.linalg.norm(default.scores - exact.scores) < 1e-3 * np.linalg.norm(exact.scores)


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_fit_to_all_clips_begins_where_the_chosen_one_ended(solver: Solver, classes: int) -> None:
    """So five steps twice end nearer to the optimum than five from zero, where all clips are in the part to fit."""
    task, _ = clouds(classes=classes, noise=1.5, clips=200)
    alone = replace(task, parts=nothing_held(len(task.train)))
    whole = replace(task, parts=HeldOut(fit=np.arange(len(task.train)), held=np.arange(50)))
    few = Logistic(cs=(1.0,), solver=solver, most_steps=5)
    twice, once, optimum = (
        fit_logistic(config, data).scores
        for config, data in ((few, whole), (few, alone), (replace(few, most_steps=2000), alone))
    )
    assert np.linalg.norm(twice - optimum) < 0.7 * np.linalg.norm(once - optimum)


def test_c_is_chosen_on_the_held_out_part_and_the_test_set_has_no_say() -> None:
    task, _ = clouds(noise=2.0, clips=15, dimensions=40)
    fitted = fit_logistic(Logistic(), task)
    assert fitted.chosen.accuracy == max(choice.accuracy or 0 for choice in fitted.choices)
    assert fit_logistic(Logistic(), replace(task, test=task.test[:2])).choices == fitted.choices
    assert len(fitted.choices) + 1 == num_fits(Logistic(), task)


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
def test_a_class_that_was_never_seen_is_no_answer(solver: Solver) -> None:
    train = LabelledFeatures(values=np.array([[0.0], [1.0]], np.float32), labels=np.array([1, 3]))
    task = Task(train=train, parts=nothing_held(2), test=np.array([[0.1], [0.9]], np.float32), num_classes=5)
    fitted = fit_logistic(Logistic(solver=solver), task)
    assert np.isneginf(fitted.scores).tolist() == [[True, False, True, False, True]] * 2
    assert fitted.scores.argmax(axis=1).tolist() == [1, 3]


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
def test_what_does_not_converge_is_said(solver: Solver) -> None:
    task, _ = clouds()
    config = Logistic(solver=solver, most_steps=2)
    assert any("did not converge in 2 steps for C = 0.0001" in note for note in fit_logistic(config, task).notes)
    assert not fit_logistic(Logistic(cs=(0.01,), solver=solver), task).notes


def test_no_global_random_state_is_touched() -> None:
    task, _ = clouds(clips=10)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    fit_logistic(Logistic(cs=(0.1,)), task)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_small_products_are_one_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine two threads of BLAS took 28 times the processor time of one, waiting for each other."""
    seen: list[int] = []
    fit = LogisticRegression.fit

    def watched(model: LogisticRegression, *data: np.ndarray) -> LogisticRegression:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fit(model, *data)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2, user_api="blas"):
        fit_logistic(Logistic(cs=(0.1,)), clouds(clips=10)[0])
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}
    assert set(seen) == {1}


@pytest.mark.parametrize("cs", [(), (0.0, 1.0), (1.0, 0.1), (1.0, 1.0)])
def test_a_grid_is_positive_and_increasing(cs: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="positive and increasing"):
        Logistic(cs=cs)
