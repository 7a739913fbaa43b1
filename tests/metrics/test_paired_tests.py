"""Paired tests, against answers worked out by hand and counts made by brute force."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.metrics.significance import compare_outcomes, compare_seeds, mcnemar_p

HITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def test_mcnemar_counts_the_clips_that_only_one_gets_right() -> None:
    # Six clips differ, one of them for the first: (1 + 6) of 2^6 outcomes are so uneven, on each side.
    first = [1, 0, 0, 0, 0, 0, 1, 1, 0]
    second = [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert mcnemar_p(first, second) == pytest.approx(2 * 7 / 64)
    test = compare_outcomes(first, second)
    assert (test.test, test.pairs) == ("McNemar, exact", 9)
    assert test.difference == pytest.approx(-4 / 9)
    assert test.low is not None
    assert test.high is not None
    assert test.low < -4 / 9 < test.high


@given(HITS)
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(pairs: list[tuple[bool, bool]]) -> None:
    first, second = zip(*pairs, strict=True)
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    n, fewer = only_first + only_second, min(only_first, only_second)
    expected = min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)
    assert mcnemar_p(first, second) == pytest.approx(expected)
    assert mcnemar_p(second, first) == pytest.approx(mcnemar_p(first, second))


def test_equal_outcomes_do_not_differ() -> None:
    assert compare_outcomes([1, 0, 1], [1, 0, 1]).p == 1.0
    assert compare_outcomes([0.5, 0.25], [0.5, 0.25]).p == 1.0


def test_means_over_seeds_are_compared_by_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400)  # what makes a clip hard for both cancels out
    ahead = compare_outcomes(hard / 2 + 0.1, hard / 2)
    assert ahead.test == "paired bootstrap"
    assert ahead.difference == pytest.approx(0.1)
    assert ahead.p == pytest.approx(2 / 2001)  # no resample of 2000 lies on the other side
    noise = rng.normal(0, 0.1, 400)
    assert compare_outcomes(hard / 2, hard / 2 + noise - noise.mean()).p > 0.5


def test_a_handful_of_clips_is_compared_by_all_ways_to_exchange_the_two() -> None:
    test = compare_outcomes([0.4, 0.5, 0.6, np.nan], [0.2, 0.4, 0.5, 0.1])
    assert (test.test, test.pairs) == ("paired permutation", 3)
    assert test.p == pytest.approx(2 / 8)  # of eight ways, the given one and its opposite are as far apart
    assert compare_outcomes([0.4], [0.2]).p == 1.0


def test_of_few_clips_without_a_difference_as_many_differ_as_alpha_says() -> None:
    rng = np.random.default_rng(0)
    found = [compare_outcomes(*rng.random((2, 8))).p < 0.05 for _ in range(400)]
    assert np.mean(found) < 0.08


def test_the_same_outcomes_give_the_same_test() -> None:
    values = np.random.default_rng(1).random((2, 50))
    assert compare_outcomes(*values) == compare_outcomes(*values)


def test_seeds_are_compared_by_students_paired_t() -> None:
    # Differences 1, 2, 3: mean 2, error 1 / sqrt(3), t = 2 sqrt(3) with two degrees of freedom, for which
    # P(|T| > t) = 1 - t / sqrt(2 + t^2), and 4.302653 leaves 2.5 % on each side.
    test = compare_seeds([11, 22, 33], [10, 20, 30])
    assert test is not None
    t = 2 * sqrt(3)
    assert test.p == pytest.approx(1 - t / sqrt(2 + t * t))
    assert (test.difference, test.pairs, test.test) == (2.0, 3, "paired t, over seeds")
    assert test.low == pytest.approx(2 - 4.302653 / sqrt(3))
    assert test.high == pytest.approx(2 + 4.302653 / sqrt(3))


def test_differences_that_are_equal_in_every_seed_are_no_certainty() -> None:
    assert compare_seeds([100 * 94 / 360, 100 * 72 / 360], [100 * 141 / 360, 100 * 119 / 360]) is None
    assert compare_seeds([1, 2], [1, 2]) is None
