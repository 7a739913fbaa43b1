"""Intervals: exact cases, agreement with theory, and coverage of the truth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tvts_bench.metrics.bootstrap import BootstrapError, Interval, bootstrap_interval


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
    monkeypatch.setattr("tvts_bench.metrics.bootstrap.DRAWS_AT_ONCE", 1234)
    assert bootstrap_interval(values) == whole


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    intervals = [bootstrap_interval(rng.random(200) < 0.3, seed=trial) for trial in range(400)]
    assert np.mean([interval.low <= 0.3 <= interval.high for interval in intervals]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_out_of_range_is_refused(level: float) -> None:
    with pytest.raises(BootstrapError, match=f"between 0 and 1, got {level}"):
        bootstrap_interval([0, 1], level=level)


def test_no_resamples_are_refused() -> None:
    with pytest.raises(BootstrapError, match="resamples must be at least 1, got 0"):
        bootstrap_interval([0, 1], resamples=0)
