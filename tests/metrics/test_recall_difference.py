"""What is read back from tables of neighbours: the recall of each query, and the difference of two backbones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tvts_bench.metrics.retrieval import recall_difference, recall_of_queries


def table(rows: Sequence[tuple[int, str, int, bool]]) -> dict[str, npt.NDArray[Any]]:
    """Columns of rows (seed, query, rank, hit)."""
    seeds, queries, ranks, hits = zip(*rows, strict=True)
    query = np.array(queries, dtype=object)
    return {"seed": np.array(seeds), "query": query, "rank": np.array(ranks), "hit": np.array(hits)}


ONE_SEED = table(
    [
        *((0, "a", 1, True), (0, "a", 2, True)),
        *((0, "c", 1, False), (0, "c", 2, False)),
        *((0, "b", 1, False), (0, "b", 2, True)),
    ]
)


def test_a_query_counts_once_if_any_of_its_first_k_is_a_hit() -> None:
    assert recall_of_queries(ONE_SEED, 1) == {"a": 1, "b": 0, "c": 0}
    assert recall_of_queries(ONE_SEED, 2) == {"a": 1, "b": 1, "c": 0}


def test_several_seeds_are_averaged() -> None:
    both = table([(7, "a", 1, True), (7, "b", 1, False), (9, "b", 1, False), (9, "a", 1, False)])
    assert recall_of_queries(both, 1) == {"a": 0.5, "b": 0}


def test_a_difference_pairs_queries_by_their_name() -> None:
    other = table([(0, "c", 1, True), (0, "b", 1, False), (0, "a", 1, False), (0, "d", 1, True)])
    found = recall_difference(ONE_SEED, other, 1)  # a: +1, b: 0, c: -1; d was measured only once
    assert found.value == 0
    assert found.interval.low < 0 < found.interval.high
    ahead = recall_difference(ONE_SEED, table([(0, "b", 1, False), (0, "a", 1, False)]), 1)
    assert ahead.value == 50


def test_a_difference_is_in_percent() -> None:
    right = table([(0, str(query), 1, True) for query in range(5)])
    wrong = table([(0, str(query), 1, False) for query in range(5)])
    found = recall_difference(right, wrong, 1)
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((100, 100, 100))
