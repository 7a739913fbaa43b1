"""What is held out: about a share of every class, whole groups, never the last clip of a class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvts_bench.probes.base import IntArray, at_the_end, best, hold_out


def none(labels: IntArray) -> list[str | None]:
    return [None] * len(labels)


def test_a_fifth_of_every_class_is_held_out() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 5])
    parts = hold_out(labels, none(labels), 0.2, seed=0)
    assert np.bincount(labels[parts.held]).tolist() == [20, 10, 1]
    assert sorted([*parts.fit, *parts.held]) == list(range(155))


def test_the_draw_is_the_seeds_alone() -> None:
    labels = np.repeat([0, 1], 50)
    first, again, other = (hold_out(labels, none(labels), 0.2, seed).held.tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_class_that_is_one_clip_or_one_group_holds_nothing_out() -> None:
    labels = np.array([0, 1, 1, 1])
    parts = hold_out(labels, [None, "g1", "g1", "g1"], 0.5, seed=0)
    assert not len(parts.held)
    assert parts.fit.tolist() == [0, 1, 2, 3]


def test_groups_larger_than_the_share_can_still_be_held_out_up_to_half_a_class() -> None:
    labels = np.zeros(10, dtype=np.int64)
    parts = hold_out(labels, [f"g{row // 5}" for row in range(10)], 0.2, seed=0)
    assert parts.held.tolist() in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), min_size=1, max_size=120),
    st.floats(0.05, 0.6),
    st.integers(0, 2**16),
)
def test_promises_hold_for_any_labels_and_groups(clips: list[tuple[int, int]], share: float, seed: int) -> None:
    labels = np.array([label for label, _ in clips])
    groups = [None if group == 0 else f"g{group}" for _, group in clips]  # groups may span classes
    parts = hold_out(labels, groups, share, seed)
    assert sorted([*parts.fit, *parts.held]) == list(range(len(clips)))
    fitted, held = ({groups[row] for row in rows} - {None} for rows in (parts.fit, parts.held))
    assert not fitted & held
    assert set(labels[parts.fit].tolist()) == set(labels.tolist())
    sizes, counts = np.bincount(labels, minlength=6), np.bincount(labels[parts.held], minlength=6)
    assert (counts <= np.maximum(np.maximum(np.round(share * sizes), 1), sizes // 2)).all()


def test_of_equal_accuracies_the_first_is_best() -> None:
    assert best([10.0, 30.0, 30.0]) == 1


@pytest.mark.parametrize(
    ("accuracies", "chosen", "end"),
    [([1, 2, 3], 2, True), ([3, 2, 1], 0, True), ([1, 3, 3], 1, False), ([3, 3, 1], 0, False), ([1, 2], 1, False)],
)
def test_an_end_of_the_grid_is_one_that_beats_its_neighbour(accuracies: list[float], chosen: int, end: bool) -> None:
    assert at_the_end(accuracies, chosen) == end
