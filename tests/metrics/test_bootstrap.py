"""Intervals: exact cases, agreement with theory, and coverage of the truth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tvts_bench.errors import UserError
from tvts_bench.metrics.significance import Difference, Interval, bootstrap_interval, paired_difference


def test_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    values = np.random.default_rng(1).random(200)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.37])
def test_equal_outcomes_give_no_width(value: float) -> None:
    assert bootstrap_interval(np.full(50, value)) == Interval(value, value, 0.95)


@pytest.mark.parametrize("outcomes", [np.random.default_rng(0).random(1000), np.arange(1000) < 300])
@pytest.mark.parametrize(("level", "sigmas"), [(0.95, 1.96), (0.6827, 1.0)])
def test_agrees_with_the_normal_approximation(outcomes: NDArray[np.generic], level: float, sigmas: float) -> None:
    mean, error = outcomes.mean(), outcomes.std() / np.sqrt(1000)
    interval = bootstrap_interval(outcomes, level=level, resamples=20_000)
    assert (interval.low, interval.high) == pytest.approx(
        (mean - sigmas * error, mean + sigmas * error), abs=0.1 * error
    )
    assert interval.level == level


def test_hits_counted_at_once_are_distributed_like_resampled_ones() -> None:
    """A third value, of one query in a thousand, forces the resampling of queries; the interval must hardly move."""
    hits = np.repeat([0.0, 1.0], [700, 300])
    nearly = hits.copy()
    nearly[0] = 1e-9
    quick, slow = (bootstrap_interval(values, resamples=20_000) for values in (hits, nearly))
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high), abs=0.002)


def test_is_in_the_unit_of_the_values() -> None:
    hits = np.arange(100) < 40
    fraction, percent = bootstrap_interval(hits), bootstrap_interval(100.0 * hits)
    assert (percent.low, percent.high) == pytest.approx((100 * fraction.low, 100 * fraction.high))


def test_nan_outcomes_are_left_out() -> None:
    values = np.random.default_rng(2).random(100)
    assert bootstrap_interval([*values, np.nan, np.nan]) == bootstrap_interval(values)
    empty = bootstrap_interval([np.nan])
    assert np.isnan([empty.low, empty.high]).all()


def test_many_outcomes_are_resampled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random(100)
    whole = bootstrap_interval(values)
    monkeypatch.setattr("tvts_bench.metrics.significance.DRAWS_AT_ONCE", 1234)
    assert bootstrap_interval(values) == whole


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    intervals = [bootstrap_interval(rng.random(200) < 0.3, seed=trial) for trial in range(400)]
    assert np.mean([interval.low <= 0.3 <= interval.high for interval in intervals]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_out_of_range_is_refused(level: float) -> None:
    with pytest.raises(UserError, match=f"between 0 and 1, got {level}"):
        bootstrap_interval([0, 1], level=level)


def test_no_resamples_are_refused() -> None:
    with pytest.raises(UserError, match="resamples must be at least 1, got 0"):
        bootstrap_interval([0, 1], resamples=0)


def test_a_difference_is_that_of_the_means_with_the_interval_of_the_pairs() -> None:
    rng = np.random.default_rng(3)
    second = (rng.random(1000) < 0.3).astype(float)
    first = np.where(rng.random(1000) < 0.1, 1.0, second)  # right wherever the second is, and now and then where not
    found = paired_difference(first, second, resamples=20_000)
    assert found.value == pytest.approx(first.mean() - second.mean())
    error = (first - second).std() / np.sqrt(1000)
    interval = (found.interval.low, found.interval.high)
    assert interval == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.1 * error)
    apart = np.hypot(first.std(), second.std()) / np.sqrt(1000)
    assert found.interval.high - found.interval.low < 0.6 * 2 * 1.96 * apart  # pairs are sharper than two intervals


def test_a_difference_resamples_both_by_the_same_queries() -> None:
    """Against the definition, written out: the same drawn queries give both means."""
    rng = np.random.default_rng(4)
    first, second = rng.random(40), rng.random(40)
    drawn = np.random.default_rng(0).integers(40, size=(2000, 40))
    low, high = np.quantile(first[drawn].mean(axis=1) - second[drawn].mean(axis=1), [0.025, 0.975])
    found = paired_difference(first, second)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    mirrored = paired_difference(second, first)
    assert mirrored.value == -found.value
    assert (-mirrored.interval.high, -mirrored.interval.low) == pytest.approx((low, high))


def test_equal_outcomes_differ_by_nothing_and_half_missing_pairs_are_left_out() -> None:
    values = np.random.default_rng(6).random(50)
    assert paired_difference(values, values) == Difference(0.0, Interval(0.0, 0.0, 0.95))
    assert paired_difference([1, np.nan, 1, 0], [0, 1, np.nan, 0]).value == 0.5
    assert np.isnan(paired_difference([], []).value)
