"""Fewer labels, class by class."""

import numpy as np
import pytest

from tvts_bench.errors import UserError
from tvts_bench.probes.base import LowLabel

LABELS = np.repeat([0, 1, 2], [300, 40, 3])


def counts(part: LowLabel, seed: int = 0) -> list[int]:
    labels = LABELS[part.draw(LABELS, seed)]
    return [int((labels == label).sum()) for label in range(3)]


def test_a_fraction_keeps_at_least_one_clip_of_every_class() -> None:
    assert counts(LowLabel(fraction=0.1)) == [30, 4, 1]
    assert counts(LowLabel(fraction=0.01)) == [3, 1, 1]
    assert counts(LowLabel(fraction=1.0)) == [300, 40, 3]


def test_clips_a_class_are_as_many_as_there_are() -> None:
    assert counts(LowLabel(per_class=4)) == [4, 4, 3]


def test_seeds_differ_and_smaller_parts_are_contained_in_larger_ones() -> None:
    small, large, other = LowLabel(per_class=4).draw(LABELS, 0), LowLabel(per_class=16).draw(LABELS, 0), 1
    assert set(small) < set(large)
    assert set(small) != set(LowLabel(per_class=4).draw(LABELS, other))
    assert (np.diff(small) > 0).all()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_is_one(fraction: float) -> None:
    with pytest.raises(UserError, match="--fraction must be above 0"):
        LowLabel(fraction=fraction)


def test_only_one_of_the_two() -> None:
    with pytest.raises(UserError, match="one of --fraction and --per-class"):
        LowLabel(fraction=0.1, per_class=4)
    with pytest.raises(UserError, match="--per-class must be at least 1, got 0"):
        LowLabel(per_class=0)
