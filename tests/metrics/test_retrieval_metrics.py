"""Recall@K, mAP@R and chance: by hand, and against counting and simulation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.errors import UserError
from tvts_bench.metrics.retrieval import (
    any_hits,
    average_precision_at_r,
    chance_recall,
    num_candidates,
    num_relevant,
    recall_at_k,
)


def test_recall_counts_a_query_once() -> None:
    labels, neighbors = [0, 0, 1], [[1, 2], [2, 0], [0, 1]]
    assert recall_at_k(neighbors, labels, labels, ks=(1, 2)) == pytest.approx({1: 100 / 3, 2: 200 / 3})


def test_recall_of_queries_in_another_gallery() -> None:
    hits = any_hits([[2, 0, 1], [1, 0, 2]], [7, 9], [7, 9, 9], ks=(1, 2, 3))
    assert {k: hit.tolist() for k, hit in hits.items()} == {1: [False, True], 2: [True, True], 3: [True, True]}


def test_a_missing_neighbour_is_no_hit_whatever_the_last_label_is() -> None:
    assert any_hits([[0, -1]], [5], [4, 5], ks=(2,))[2].tolist() == [False]


@pytest.mark.parametrize("k", [0, -1, 3])
def test_k_beyond_the_neighbours_is_refused(k: int) -> None:
    with pytest.raises(UserError, match=rf"Recall@{k} needs K from 1 to 2"):
        recall_at_k([[1, 2]], [0], [0, 1, 2], ks=(1, k))


def test_no_query_is_refused() -> None:
    with pytest.raises(UserError, match="no query"):
        recall_at_k(np.empty((0, 3)), [], [0], ks=(1,))


def test_average_precision_at_r_by_hand() -> None:
    gallery = [0, 0, 0, 1, 1, 2]
    neighbors = [[0, 3, 1, 2], [3, 0, 4, 1], [0, 1, 2, 3], [-1, -1, -1, -1]]
    values = average_precision_at_r(neighbors, [0, 1, 3, 2], gallery, np.array([3, 2, 0, 1]))
    # R = 3, hits at ranks 1 and 3: (1/1 + 2/3) / 3; R = 2, only the hit at rank 1 counts: (1/1) / 2; nothing to find.
    assert values.tolist() == pytest.approx([5 / 9, 1 / 2, np.nan, 0], nan_ok=True)


def test_average_precision_needs_as_many_neighbours_as_the_largest_class() -> None:
    with pytest.raises(UserError, match="needs 3 neighbours, the size of the largest class, got 2"):
        average_precision_at_r([[0, 1]], [0], [0, 0, 0], np.array([3]))


labels = st.lists(st.integers(0, 3), min_size=2, max_size=12)


@given(labels, st.data())
def test_counts_agree_with_going_through_all_pairs(gallery: list[int], data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.sampled_from([None, "a", "b"]), min_size=len(gallery), max_size=len(gallery)))
    for exclude in (False, True):
        chosen = groups if exclude else None
        kept = [
            [
                i
                for i in range(len(gallery))
                if i != q and not (exclude and groups[q] is not None and groups[q] == groups[i])
            ]
            for q in range(len(gallery))
        ]
        relevant = num_relevant(gallery, gallery, same_set=True, query_groups=chosen, gallery_groups=chosen)
        total = num_candidates(gallery, gallery, same_set=True, query_groups=chosen, gallery_groups=chosen)
        assert total.tolist() == [len(items) for items in kept]
        assert relevant.tolist() == [sum(gallery[i] == gallery[q] for i in items) for q, items in enumerate(kept)]


def test_counts_where_only_some_queries_are_in_the_gallery() -> None:
    both = np.array([True, False])
    assert num_relevant([0, 0], [0, 0, 1], same_set=both).tolist() == [1, 2]
    assert num_candidates([0, 0], [0, 0, 1], same_set=both).tolist() == [2, 3]
    groups = {"query_groups": [None, "g"], "gallery_groups": ["g", None, "g"]}
    assert num_relevant([0, 0], [0, 0, 1], same_set=both, **groups).tolist() == [1, 1]
    assert num_candidates([0, 0], [0, 0, 1], same_set=both, **groups).tolist() == [2, 1]


@given(labels, st.integers(1, 12))
def test_chance_agrees_with_trying_every_draw(gallery: list[int], k: int) -> None:
    expected = []
    for query, label in enumerate(gallery):
        others = [other == label for position, other in enumerate(gallery) if position != query]
        draws = list(combinations(others, min(k, len(others))))
        expected.append(sum(any(draw) for draw in draws) / len(draws))
    relevant = num_relevant(gallery, gallery, same_set=True)
    candidates = num_candidates(gallery, gallery, same_set=True)
    assert chance_recall(relevant, candidates, (k,))[k] == pytest.approx(100 * np.mean(expected))


def test_chance_by_hand() -> None:
    assert chance_recall(np.array([1]), np.array([2]), (1, 2)) == pytest.approx({1: 50, 2: 100})
    assert chance_recall(np.array([2, 2]), np.array([4, 4]), (1, 2)) == pytest.approx({1: 50, 2: 100 * 5 / 6})
    assert chance_recall(np.array([0, 1]), np.array([3, 1]), (1, 5)) == pytest.approx({1: 50, 5: 50})


def test_chance_is_what_random_rankings_reach() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.integers(5, size=30)
    queries = np.repeat(gallery, 400)
    neighbors = []
    for query in np.repeat(np.arange(30), 400):
        order = rng.permutation(30)
        neighbors.append(order[order != query][:5])
    relevant = num_relevant(gallery, gallery, same_set=True)
    chance = chance_recall(relevant, num_candidates(gallery, gallery, same_set=True), (1, 5))
    assert recall_at_k(neighbors, queries, gallery, ks=(1, 5)) == pytest.approx(chance, abs=1.5)
