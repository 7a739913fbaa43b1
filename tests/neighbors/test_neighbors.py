"""The search against independent answers: rational numbers where ties abound, a dense float64 matrix where not."""

import tracemalloc
from collections.abc import Callable, Sequence

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.dense_neighbors import dense_scores, exact_scores, first_k
from tvts_bench.errors import UserError
from tvts_bench.neighbors import EmbeddingSet, nearest, search


def embedded(
    values: object, ids: Sequence[str] | None = None, groups: Sequence[str | None] | None = None
) -> EmbeddingSet:
    array = np.asarray(values, dtype=np.float32)
    return EmbeddingSet(ids=ids or [f"v{i:05d}" for i in range(len(array))], values=array, groups=groups)


def shuffled_ids(count: int, seed: int = 0) -> list[str]:
    return [f"v{i:05d}" for i in np.random.default_rng(seed).permutation(count)]


def with_duplicates(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Random rows, a third of which are copies of others and a tenth multiples of others."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, width)).astype(np.float32)
    copies = rng.permutation(count)
    third, tenth = count // 3, count // 10
    values[copies[:third]] = values[rng.integers(count, size=third)]
    values[copies[-tenth:]] = 2 * values[copies[:tenth]]
    return values


def test_ranks_by_angle_not_by_length() -> None:
    clips = embedded([[1, 0], [100, 100], [0, 3], [0.1, 0.01]])
    found = nearest(clips, clips, 2)
    assert found.indices.tolist() == [[3, 1], [3, 0], [1, 3], [0, 1]]
    assert found.similarities[0].tolist() == pytest.approx([0.1 / np.hypot(0.1, 0.01), np.sqrt(0.5)])
    assert found.similarities.dtype == np.float32
    assert found.indices.dtype == np.int64


def test_itself_is_removed_by_id_though_duplicates_come_first() -> None:
    clips = embedded([[1, 0]] * 3 + [[0, 1]], ids=["c", "a", "b", "d"])
    assert nearest(clips, clips, 3).indices.tolist() == [[1, 2, 3], [2, 0, 3], [1, 0, 3], [1, 2, 0]]


def test_itself_is_removed_wherever_it_is_in_the_gallery() -> None:
    gallery = embedded([[0, 1], [1, 1], [1, 0]], ids=["x", "y", "z"])
    queries = embedded([[1, 0], [1, 0]], ids=["z", "new"])
    assert nearest(queries, gallery, 2).indices.tolist() == [[1, 0], [2, 1]]


def test_a_query_with_fewer_left_than_k_gets_minus_one() -> None:
    queries, gallery = embedded([[1, 0]] * 2, ids=["a", "new"]), embedded([[1, 0], [0, 1]], ids=["a", "b"])
    found = nearest(queries, gallery, 2)
    assert found.indices.tolist() == [[1, -1], [0, 1]]
    assert np.isnan(found.similarities).tolist() == [[False, True], [False, False]]


def test_zero_rows_are_similar_to_nothing() -> None:
    clips = embedded([[0, 0], [1, 0], [-1, 0], [1, 1]])
    found = nearest(clips, clips, 3)
    assert found.indices.tolist() == [[1, 2, 3], [3, 0, 2], [0, 3, 1], [1, 0, 2]]
    assert found.similarities[0].tolist() == [0, 0, 0]


def test_group_neighbours_are_removed_and_replaced() -> None:
    clips = embedded([[10, i] for i in range(6)], groups=["g", "g", None, None, "h", "g"])
    found = nearest(clips, clips, 3, exclude_same_group=True).indices
    assert found[0].tolist() == [2, 3, 4]
    assert found[2].tolist() == [3, 1, 4]
    assert found[4].tolist() == [5, 3, 2]


@st.composite
def searches(draw: st.DrawFn) -> tuple[EmbeddingSet, EmbeddingSet, int, bool]:
    """Small integer vectors, so that ties abound; the queries are the gallery, or share some ids with it."""
    width = draw(st.integers(1, 3))
    count = draw(st.integers(2, 30))
    rows = st.lists(st.integers(-2, 2), min_size=width, max_size=width)
    names = st.text("aZ0é", min_size=1, max_size=3)
    group = st.sampled_from([None, "g1", "g2"])

    def side(count: int) -> EmbeddingSet:
        return embedded(
            draw(st.lists(rows, min_size=count, max_size=count)),
            draw(st.lists(names, min_size=count, max_size=count, unique=True)),
            draw(st.lists(group, min_size=count, max_size=count)),
        )

    gallery = side(count)
    queries = gallery if draw(st.booleans()) else side(draw(st.integers(1, 6)))
    return queries, gallery, draw(st.integers(1, min(5, count))), draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(searches())
def test_agrees_with_rational_arithmetic(case: tuple[EmbeddingSet, EmbeddingSet, int, bool]) -> None:
    queries, gallery, k, same_group = case
    expected = first_k(exact_scores(queries, gallery), queries, gallery, k, same_group=same_group)
    if (expected[:, k - 1] < 0).all():
        with pytest.raises(UserError, match=rf"--k {k} is larger than the gallery: {len(gallery.ids)} clips"):
            nearest(queries, gallery, k, exclude_same_group=same_group)
        return
    found = nearest(queries, gallery, k, exclude_same_group=same_group)
    np.testing.assert_array_equal(found.indices, expected)


@pytest.mark.parametrize(("k", "width"), [(1, 32), (10, 32), (40, 7), (10, 200)])
def test_agrees_with_the_dense_matrix_where_features_repeat(k: int, width: int) -> None:
    clips = embedded(with_duplicates(700, width), shuffled_ids(700))
    scores = dense_scores(clips, clips)
    found = nearest(clips, clips, k)
    np.testing.assert_array_equal(found.indices, first_k(scores, clips, clips, k))
    np.testing.assert_allclose(found.similarities, np.take_along_axis(scores, found.indices, axis=1), atol=1e-6)


def test_agrees_when_a_hundred_equal_clips_lie_on_the_boundary() -> None:
    values = with_duplicates(600, 16)
    values[100:200] = values[100]
    clips = embedded(values, shuffled_ids(600))
    for k in (5, 98, 99, 100, 101):
        np.testing.assert_array_equal(
            nearest(clips, clips, k).indices, first_k(dense_scores(clips, clips), clips, clips, k)
        )


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6, 0.0])
def test_agrees_when_all_features_point_the_same_way(spread: float) -> None:
    values = 1 + spread * np.random.default_rng(0).standard_normal((400, 24))
    clips = embedded(values, shuffled_ids(400))
    np.testing.assert_array_equal(
        nearest(clips, clips, 7).indices, first_k(dense_scores(clips, clips), clips, clips, 7)
    )


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e18, 1e36])
def test_agrees_at_the_ends_of_float32(scale: float) -> None:
    clips = embedded(scale * with_duplicates(100, 8), shuffled_ids(100))
    np.testing.assert_array_equal(
        nearest(clips, clips, 5).indices, first_k(dense_scores(clips, clips), clips, clips, 5)
    )


def test_agrees_when_groups_are_larger_than_the_first_search() -> None:
    rng = np.random.default_rng(3)
    groups = [None if code == 0 else f"g{code}" for code in rng.choice(4, size=900, p=[0.2, 0.6, 0.15, 0.05])]
    values = with_duplicates(900, 12)
    values[:, 0] += [8 if group == "g1" else 0 for group in groups]  # its nearest are all of its own group
    clips = embedded(values, shuffled_ids(900), groups)
    found = nearest(clips, clips, 20, exclude_same_group=True)
    np.testing.assert_array_equal(found.indices, first_k(dense_scores(clips, clips), clips, clips, 20, same_group=True))


def test_does_not_depend_on_how_queries_are_cut_or_on_threads() -> None:
    clips = embedded(with_duplicates(500, 20), shuffled_ids(500))
    together = nearest(clips, clips, 9)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for start, stop in ((0, 1), (1, 30), (30, 500)):
            part = EmbeddingSet(ids=clips.ids[start:stop], values=clips.values[start:stop])
            found = nearest(part, clips, 9)
            np.testing.assert_array_equal(found.indices, together.indices[start:stop])
            np.testing.assert_array_equal(found.similarities, together.similarities[start:stop])
    finally:
        faiss.omp_set_num_threads(threads)


def test_blocks_of_queries_join(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = embedded(with_duplicates(300, 20), shuffled_ids(300))
    together = nearest(clips, clips, 9)
    monkeypatch.setattr(search, "QUERIES_AT_ONCE", 7)
    monkeypatch.setattr(search, "SCORES_AT_ONCE", 1000)
    np.testing.assert_array_equal(nearest(clips, clips, 9).indices, together.indices)


Found = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.mark.parametrize("precision", [np.float16, np.float32])
def test_a_device_of_another_precision_gives_the_same(precision: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first stage that sums in half precision, or breaks ties the other way round, changes nothing."""
    clips = embedded(with_duplicates(2000, 3), shuffled_ids(2000))
    expected = nearest(clips, clips, 9)

    def other_device(gallery: NDArray[np.float32], device: str) -> Callable[[NDArray[np.float32], int], Found]:
        def find(queries: NDArray[np.float32], depth: int) -> Found:
            products = (queries.astype(precision) @ gallery.astype(precision).T).astype(np.float32)
            order = np.argsort(products[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :depth]
            rows = products.shape[1] - 1 - order
            return np.take_along_axis(products, rows, axis=1), rows

        return find

    monkeypatch.setattr(search, "candidate_search", other_device)
    found = nearest(clips, clips, 9)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.similarities, expected.similarities)


def test_memory_does_not_grow_with_the_square() -> None:
    clips = embedded(np.random.default_rng(0).standard_normal((6000, 16)))
    nearest(clips, clips, 5)
    tracemalloc.start()
    nearest(clips, clips, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 10


def test_no_queries_is_no_error() -> None:
    assert nearest(embedded(np.empty((0, 2))), embedded([[1, 0]]), 1).indices.shape == (0, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_named(bad: float) -> None:
    values = np.ones((6, 3))
    values[[1, 4], 2] = bad
    clips = embedded(values, ids=[f"clip {i}" for i in range(6)])
    with pytest.raises(UserError, match=r"2 of 6 clips have NaN or infinite features, the first: 'clip 1', 'clip 4'"):
        nearest(clips, clips, 1)


def test_impossible_searches_are_refused() -> None:
    clips, others = embedded(np.ones((20, 3))), embedded(np.ones((2, 4)), ids=["x", "y"])
    with pytest.raises(UserError, match="--k 50 is larger than the gallery: 20 clips, 19 without the query itself"):
        nearest(clips, clips, 50)
    with pytest.raises(UserError, match="--k 20 is larger"):
        nearest(clips, clips, 20)
    with pytest.raises(UserError, match=r"--k 3 is larger than the gallery: 2 clips$"):
        nearest(embedded(np.ones((1, 4))), others, 3)
    with pytest.raises(UserError, match="--k must be at least 1, got 0"):
        nearest(clips, clips, 0)
    with pytest.raises(UserError, match="queries have 4 dimensions and the gallery 3"):
        nearest(others, clips, 1)
    with pytest.raises(UserError, match="holds 'a' more than once"):
        nearest(clips, embedded(np.ones((3, 3)), ids=["b", "a", "a"]), 1)
    with pytest.raises(UserError, match="the queries have no groups"):
        nearest(clips, clips, 1, exclude_same_group=True)
    grouped = embedded(np.ones((4, 3)), groups=["g", "g", "g", "h"])
    with pytest.raises(UserError, match="4 clips, 3 without the query itself and its group"):
        nearest(grouped, grouped, 4, exclude_same_group=True)


def test_features_that_do_not_fit_their_ids_are_refused() -> None:
    with pytest.raises(UserError, match="3 rows of features for 2 ids"):
        embedded(np.ones((3, 2)), ids=["a", "b"])
    with pytest.raises(UserError, match="1 groups"):
        embedded(np.ones((3, 2)), groups=["a"])
    with pytest.raises(UserError, match=r"shape \(3,\)"):
        embedded(np.ones(3), ids=["a", "b", "c"])
