"""Sampling arithmetic: spans by hand, starts against a dense scan, and the rules for what does not fit."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pretrain.data.clip_sampling import (
    LENGTH_CHANGED,
    NO_START,
    NO_WORDS,
    REDRAWN,
    SHORTENED,
    TOO_SHORT,
    SegmentConfig,
    draw_segments,
    frame_times,
    usable,
    valid_starts,
    words_inside,
)
from pretrain.data.transcripts import Word, text_between
from tvts_bench.errors import UserError

PAPER = SegmentConfig()


def words_at(*times: float) -> tuple[Word, ...]:
    return tuple(Word(f"w{i}", time) for i, time in enumerate(times))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_spans_are_the_papers() -> None:
    assert [PAPER.span(length) for length in (3, 4, 5)] == [15, 19, 23]


def test_segments_of_a_cut_follow_one_second_apart() -> None:
    cut = draw_segments(words_at(*range(60)), 60, PAPER, rng())
    assert cut.length in (3, 4, 5)
    np.testing.assert_allclose(np.diff(cut.starts), cut.length + 1)
    assert cut.begin == cut.starts[0]
    assert cut.end == pytest.approx(cut.begin + PAPER.span(cut.length))
    assert not cut.events


def test_starts_and_lengths_are_uniform_where_words_are_everywhere() -> None:
    words = words_at(*np.arange(0, 40, 0.2))
    cuts = [draw_segments(words, 40, PAPER, rng(seed)) for seed in range(1200)]
    lengths = [cut.length for cut in cuts]
    assert all(330 < lengths.count(length) < 470 for length in (3, 4, 5))  # 400 expected, 4 standard errors
    begins = np.array([cut.begin / (40 - PAPER.span(cut.length)) for cut in cuts])
    assert np.histogram(begins, bins=4, range=(0, 1))[0].min() > 240  # 300 expected


def test_a_word_belongs_to_the_segment_it_begins_in() -> None:
    words = (Word("a", 0.0, 2.0), Word("b", 0.999, 3.0), Word("c", 1.0, 1.5))
    assert text_between(words, 0, 1) == "a b"
    assert text_between(words, 1, 2) == "c"


def test_starts_by_hand() -> None:
    # Two segments of 2 s, 1 s apart, words at 1 and 5: the first wants a start in (-1, 1], the second in (0, 2].
    config = SegmentConfig(segments=2, lengths=(2.0,))
    np.testing.assert_allclose(valid_starts(np.array([1.0, 5.0]), 20, 2.0, config), [[0, 1]], atol=1e-9)
    np.testing.assert_allclose(valid_starts(np.array([1.0, 5.0]), 5.5, 2.0, config), [[0, 0.5]], atol=1e-9)
    assert len(valid_starts(np.array([1.0, 9.0]), 20, 2.0, config)) == 0


TIMES = st.lists(st.floats(0, 30), min_size=1, max_size=12).map(lambda times: sorted(round(t, 2) for t in times))
CONFIGS = st.builds(
    SegmentConfig,
    segments=st.integers(1, 4),
    lengths=st.lists(st.sampled_from([1.0, 2.0, 3.5]), min_size=1, max_size=3, unique=True).map(tuple),
    gap=st.sampled_from([0.0, 0.5, 1.0]),
)


@given(times=TIMES, duration=st.floats(1, 40), config=CONFIGS)
def test_starts_are_those_a_scan_finds(times: list[float], duration: float, config: SegmentConfig) -> None:
    length = config.lengths[0]
    assume(config.span(length) <= duration)
    allowed = valid_starts(np.array(times), duration, length, config)
    assert (allowed[:, 0] < allowed[:, 1]).all()
    assert (allowed[1:, 0] >= allowed[:-1, 1]).all()
    edges = {0.0, duration - config.span(length)} | {e + d for e in allowed.ravel() for d in (-1e-3, 1e-3)}
    for start in (*np.linspace(0, duration - config.span(length), 60), *edges):
        if not 0 <= start <= duration - config.span(length):
            continue
        begins = [start + k * (length + config.gap) for k in range(config.segments)]
        # Within a nanosecond of an edge rounding decides, and either answer is right.
        margin = min(abs(t - edge) for t in times for begin in begins for edge in (begin, begin + length))
        if margin > 1e-9:
            is_valid = all(any(begin <= t < begin + length for t in times) for begin in begins)
            assert is_valid == bool(((allowed[:, 0] <= start) & (start < allowed[:, 1])).any())


@given(times=TIMES, duration=st.floats(0.5, 40), config=CONFIGS, seed=st.integers(0, 50))
def test_whatever_is_usable_gives_words_to_every_segment(
    times: list[float], duration: float, config: SegmentConfig, seed: int
) -> None:
    words = words_inside(words_at(*times), duration)
    if usable(words, duration, config) is not None:
        return
    cut = draw_segments(words, duration, config, rng(seed))
    assert cut.begin >= 0
    assert cut.end <= duration + 1e-9
    assert len(cut.starts) == config.segments
    for start in cut.starts:  # an ulp of slack: segment k's start is a sum of floats
        assert text_between(words, start - 1e-9, start + cut.length + 1e-9)


def test_a_start_without_words_is_redrawn_and_counted() -> None:
    words = words_at(*np.arange(80, 100, 0.5))  # silence before
    cuts = [draw_segments(words, 100, PAPER, rng(seed)) for seed in range(50)]
    assert all(text_between(words, start, start + cut.length) for cut in cuts for start in cut.starts)
    assert sum(cut.events[REDRAWN] for cut in cuts) > 30


def test_another_length_is_tried_and_counted() -> None:
    # One word every 5 s: only segments of 5 s always have one, and with those 3 or 4 s long few starts do or none.
    config = SegmentConfig(lengths=(1.0, 4.0), gap=1.0)
    words = words_at(3.5, 8.5, 13.5, 18.5)
    assert len(valid_starts(np.array([3.5, 8.5, 13.5, 18.5]), 20, 1.0, config)) == 0
    cuts = [draw_segments(words, 20, config, rng(seed)) for seed in range(30)]
    assert {cut.length for cut in cuts} == {4.0}
    assert 5 < sum(cut.events[LENGTH_CHANGED] for cut in cuts) < 25


def test_segments_of_a_short_video_are_shortened_and_counted() -> None:
    cut = draw_segments(words_at(*np.arange(0, 11, 0.25)), 11, PAPER, rng())
    assert cut.length == 2.0  # 4 x 2 + 3 x 1
    assert (cut.begin, cut.end) == (0.0, 11.0)
    assert cut.events[SHORTENED] == 1


@pytest.mark.parametrize(
    ("times", "duration", "reason"),
    [
        ((), 60, NO_WORDS),
        ((1, 2, 3), 6.9, TOO_SHORT),  # 4 x 1 + 3 x 1 = 7 s at least
        ((1,), 60, NO_START),
        ((0.5, 2.5, 4.5, 6.5), 7, None),
        (range(60), 60, None),
    ],
)
def test_why_a_video_has_no_sample(times: tuple[float, ...], duration: float, reason: str | None) -> None:
    assert usable(words_at(*times), duration, PAPER) == reason


def test_words_past_the_end_do_not_exist() -> None:
    assert words_inside(words_at(1, 9.99, 10, 11), 10) == words_at(1, 9.99)


def test_frame_times_are_centres_or_random_points_of_equal_parts() -> None:
    np.testing.assert_allclose(frame_times(10, 18, 4), [11, 13, 15, 17])
    times = frame_times(10, 18, 4, rng())
    np.testing.assert_array_equal((times - 10) // 2, [0, 1, 2, 3])
    assert not np.allclose(times, [11, 13, 15, 17])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"segments": 0}, "segments must be at least 1, got 0"),
        ({"lengths": ()}, "lengths must be"),
        ({"lengths": (3.0, 0.0)}, "lengths must be"),
        ({"gap": -1.0}, "gap must not be negative, got -1.0"),
        ({"min_length": 4.0}, "min_length must be in"),
    ],
)
def test_nonsense_is_refused_with_its_value(fields: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SegmentConfig(**fields)  # type: ignore[arg-type]
