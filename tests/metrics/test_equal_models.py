"""Of equal models, paired tests find 5 % different, and Holm's method keeps many tests at that together."""

import numpy as np
import pytest

from tests.support.drawn_hits import drawn
from tvts_bench.metrics.significance import compare_outcomes, holm_corrected


def test_holm_multiplies_by_how_many_are_left() -> None:
    assert holm_corrected([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm_corrected([0.5, 0.9]).tolist() == pytest.approx([1.0, 1.0])
    assert holm_corrected([]).tolist() == []


def test_equal_models_differ_in_5_percent_of_2000_draws() -> None:
    """McNemar's exact test stays below: with 4,000 clips between 4 and 5 %, with few clips far less."""
    rng = np.random.default_rng(4)

    def share(clips: int, draws: int) -> float:
        p = [compare_outcomes(*drawn(rng, clips, 0.5, 0.5), resamples=1).p for _ in range(draws)]
        return float(np.mean(np.array(p) < 0.05))

    assert 0.035 < share(4000, 2000) < 0.055
    assert share(20, 2000) < 0.05


def test_equal_models_of_several_seeds_differ_in_5_percent_of_2000_draws() -> None:
    """Of eight clips there are 256 ways to exchange the two: 12 of them, 4.7 %, are what p < 0.05 can be at most."""
    rng = np.random.default_rng(5)
    few = [compare_outcomes(*rng.random((2, 8)), resamples=1) for _ in range(2000)]
    assert {each.test for each in few} == {"paired permutation"}
    assert 0.04 < np.mean([each.p < 0.05 for each in few]) < 0.06
    tied = [compare_outcomes(*drawn(rng, 40, 0.5, 0.5).reshape(2, 8, 5).mean(axis=2), resamples=1) for _ in range(200)]
    assert np.mean([each.p < 0.05 for each in tied]) < 0.05, "ties make it rarer"
    many = [
        compare_outcomes(*drawn(rng, 500, 0.5, 0.5).reshape(2, 100, 5).mean(axis=2), resamples=400) for _ in range(2000)
    ]
    assert {each.test for each in many} == {"paired bootstrap"}
    assert 0.04 < np.mean([each.p < 0.05 for each in many]) < 0.06


def test_of_many_comparisons_of_equal_models_5_percent_show_any_difference() -> None:
    """Six models against each other, 15 tests each: without the correction, a third and more would show one."""
    rng = np.random.default_rng(6)
    bare, corrected = [], []
    for _ in range(150):
        hits = drawn(rng, 200, *[0.5] * 6)
        p = [compare_outcomes(hits[i], hits[j], resamples=1).p for i in range(6) for j in range(i)]
        bare.append(min(p) < 0.05)
        corrected.append(holm_corrected(p).min() < 0.05)
    assert np.mean(bare) > 0.2
    assert np.mean(corrected) < 0.08
