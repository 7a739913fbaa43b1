"""Frame indices, checked by hand and for every size hypothesis finds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.errors import UserError
from tvts_bench.video.sampling import clip_indices, dense_indices, endpoint_indices, segment_indices
from tvts_bench.video.spec import ClipSpec

FOUR = ClipSpec(num_frames=4)


def test_segments_take_the_middle_of_each() -> None:
    assert segment_indices(16, 4).tolist() == [2, 6, 10, 14]
    assert segment_indices(10, 4).tolist() == [1, 3, 6, 8]
    assert segment_indices(300, 3).tolist() == [50, 150, 250]


def test_short_videos_repeat_frames() -> None:
    assert segment_indices(3, 4).tolist() == [0, 1, 1, 2]
    assert segment_indices(1, 4).tolist() == [0, 0, 0, 0]
    assert dense_indices(3, 4, 2).tolist() == [0, 2, 2, 2]


def test_dense_takes_every_stride_th_of_a_centred_window() -> None:
    assert dense_indices(10, 4, 2).tolist() == [1, 3, 5, 7]
    assert dense_indices(7, 4, 2).tolist() == [0, 2, 4, 6]
    assert dense_indices(10, 4, 2, offset=1.0).tolist() == [3, 5, 7, 9]


def test_endpoints_spread_from_the_first_frame_to_the_last() -> None:
    assert endpoint_indices(10, 4).tolist() == [0, 3, 6, 9]
    assert endpoint_indices(11, 4).tolist() == [0, 3, 6, 10]
    assert endpoint_indices(3, 4).tolist() == [0, 0, 1, 2]
    assert endpoint_indices(9, 1).tolist() == [0]
    spec = replace(FOUR, sampling="endpoints", frame_order="reversed")
    assert clip_indices(10, spec, "a").tolist() == [[9, 6, 3, 0]]


@given(st.integers(1, 100_000), st.integers(2, 64))
def test_endpoints_are_evenly_spread(num_frames: int, t: int) -> None:
    exact = [i * (num_frames - 1) / (t - 1) for i in range(t)]
    indices = endpoint_indices(num_frames, t)
    assert (indices[0], indices[-1]) == (0, num_frames - 1)
    assert all(index - 1e-6 <= position < index + 1 + 1e-6 for index, position in zip(indices, exact, strict=True))


@pytest.mark.parametrize("changes", [{"position": "random"}, {"temporal_views": 2}])
def test_endpoints_have_nothing_to_draw_and_no_views(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="endpoints takes the same frames each time"):
        ClipSpec(sampling="endpoints", **changes)


def test_views_of_segments_differ() -> None:
    spec = replace(FOUR, temporal_views=2)
    assert clip_indices(16, spec, "a").tolist() == [[1, 5, 9, 13], [3, 7, 11, 15]]


def test_views_of_dense_clips_spread_over_the_video() -> None:
    spec = replace(FOUR, sampling="dense", stride=2, temporal_views=3)
    assert clip_indices(17, spec, "a").tolist() == [[0, 2, 4, 6], [5, 7, 9, 11], [10, 12, 14, 16]]


def test_temporal_controls() -> None:
    assert clip_indices(16, replace(FOUR, frame_order="reversed"), "a").tolist() == [[14, 10, 6, 2]]
    assert clip_indices(16, replace(FOUR, frame_order="single"), "a").tolist() == [[10, 10, 10, 10]]
    orders = {tuple(clip_indices(16, replace(FOUR, frame_order="shuffled"), str(i))[0]) for i in range(50)}
    assert len(orders) > 10
    assert {tuple(sorted(order)) for order in orders} == {(2, 6, 10, 14)}


def test_controls_see_the_frames_the_real_clip_sees() -> None:
    random = replace(FOUR, position="random", seed=3)
    for order in ("reversed", "shuffled"):
        control = clip_indices(100, replace(random, frame_order=order), "a")
        assert sorted(control[0]) == clip_indices(100, random, "a")[0].tolist()


def test_random_positions_depend_on_seed_and_id_alone() -> None:
    spec = replace(FOUR, position="random")
    first = clip_indices(10_000, spec, "a").tolist()
    np.random.seed(1)  # noqa: NPY002 - global state must not matter
    assert clip_indices(10_000, spec, "a").tolist() == first
    assert clip_indices(10_000, spec, "b").tolist() != first
    assert clip_indices(10_000, replace(spec, seed=1), "a").tolist() != first
    assert first == [[1395, 4921, 5161, 8156]]  # the same on every machine and in every version


def test_random_points_cover_their_segments_evenly() -> None:
    spec = replace(FOUR, position="random")
    drawn = np.array([clip_indices(40, spec, str(i))[0] for i in range(4000)])
    for segment in range(4):
        counts = np.bincount(drawn[:, segment] - 10 * segment, minlength=10)
        assert len(counts) == 10
        assert counts.min() > 300  # 400 expected, standard deviation 19


def test_random_windows_reach_both_ends() -> None:
    spec = replace(FOUR, sampling="dense", stride=2, position="random")
    starts = {int(clip_indices(10, spec, str(i))[0, 0]) for i in range(200)}
    assert starts == {0, 1, 2, 3}


@given(
    num_frames=st.integers(1, 5000),
    spec=st.builds(
        ClipSpec,
        num_frames=st.integers(1, 64),
        sampling=st.sampled_from(["segments", "dense"]),
        position=st.sampled_from(["center", "random"]),
        stride=st.integers(1, 40),
        seed=st.integers(0, 2**40),
        frame_order=st.sampled_from(["forward", "reversed", "shuffled", "single"]),
        temporal_views=st.integers(1, 6),
    ),
    record_id=st.text(),
)
def test_indices_always_exist_and_run_forward(num_frames: int, spec: ClipSpec, record_id: str) -> None:
    indices = clip_indices(num_frames, spec, record_id)
    assert indices.shape == (spec.temporal_views, spec.num_frames)
    assert indices.min() >= 0
    assert indices.max() < num_frames
    assert (indices == clip_indices(num_frames, spec, record_id)).all()
    if spec.frame_order == "forward":
        assert (np.diff(indices, axis=1) >= 0).all()


@given(st.integers(1, 3000), st.integers(1, 64), st.integers(0, 2**32))
def test_each_segment_gives_its_own_frame(num_frames: int, t: int, seed: int) -> None:
    for rng in (None, np.random.default_rng(seed)):
        indices = segment_indices(num_frames, t, rng)
        assert all(i * num_frames // t <= index <= (i + 1) * num_frames / t for i, index in enumerate(indices))


@pytest.mark.parametrize("record_id", ["caf\udce9", "视频", ""])
def test_any_id_will_do(record_id: str) -> None:
    assert clip_indices(9, replace(FOUR, position="random"), record_id).shape == (1, 4)
