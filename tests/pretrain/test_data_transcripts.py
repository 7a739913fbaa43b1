"""Denoised words against word times: by hand, against a plain dynamic programme, and for any input."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.data.transcripts import Passage, Transcript, Word, align_passage, matched, spoken_words


def heard(text: str, step: float = 1.0) -> list[Word]:
    return [Word(word, i * step) for i, word in enumerate(text.split())]


def aligned(words: list[Word], text: str) -> list[tuple[str, float]]:
    return [(word.text, round(word.start, 3)) for word in align_passage(words, Passage(0, len(words), text))]


def test_equal_words_keep_their_times() -> None:
    assert aligned(heard("this is a ball"), "This is a ball.") == [("This", 0), ("is", 1), ("a", 2), ("ball.", 3)]


def test_words_that_are_replaced_dropped_and_added() -> None:
    words = heard("yeah guys um this delishes sauce")
    expected = [("Yeah,", 0), ("guys,", 1), ("this", 3), ("delicious", 4), ("sauce.", 5)]
    assert aligned(words, "Yeah, guys, this delicious sauce.") == expected


def test_words_that_share_a_heard_word_share_its_time() -> None:
    assert aligned(heard("a ball stops", 2.0), "A ball, ball stops") == [
        ("A", 0),
        ("ball,", 2),
        ("ball", 3),
        ("stops", 4),
    ]


def test_words_outside_passages_stay_as_heard() -> None:
    words = tuple(heard("one too three for five"))
    transcript = Transcript(words=words, source=Path("a"), passages=(Passage(1, 2, "two"), Passage(3, 4, "Four,")))
    assert [word.text for word in spoken_words(transcript)] == ["one", "two", "three", "Four,", "five"]
    assert [word.start for word in spoken_words(transcript)] == [0, 1, 2, 3, 4]


def test_without_denoised_text_words_are_as_heard() -> None:
    words = tuple(heard("one two"))
    assert spoken_words(Transcript(words=words, source=Path("a"))) == words


def plain_cost(a: list[str], b: list[str]) -> float:
    """The least total edit distance of a warping path, by the textbook recurrence."""

    def edit(x: str, y: str) -> int:
        row = list(range(len(y) + 1))
        for i, c in enumerate(x, 1):
            before, row[0] = row[0], i
            for j, d in enumerate(y, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (c != d))
        return row[-1]

    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            total[i, j] = edit(x, y) + min(total[i - 1, j], total[i, j - 1], total[i - 1, j - 1])
    return float(total[-1, -1])


WORDS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=9)


@settings(deadline=None)
@given(a=WORDS, b=WORDS)
def test_the_path_is_a_cheapest_one(a: list[str], b: list[str]) -> None:
    from rapidfuzz.distance import Levenshtein

    from pretrain.data import transcripts

    cost = np.array([[Levenshtein.distance(x, y) for y in b] for x in a], dtype=np.int32)
    path = transcripts._warping_path(cost)
    assert path[0] == (0, 0)
    assert path[-1] == (len(a) - 1, len(b) - 1)
    steps = {(i - k, j - m) for (k, m), (i, j) in itertools.pairwise(path)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert sum(cost[i, j] for i, j in path) == plain_cost(a, b)


@settings(deadline=None)
@given(a=WORDS, b=WORDS, gaps=st.lists(st.floats(0, 3), min_size=9, max_size=9))
def test_times_never_decrease_and_stay_inside(a: list[str], b: list[str], gaps: list[float]) -> None:
    times = np.cumsum(gaps)[: len(a)]
    words = [Word(text, float(time)) for text, time in zip(a, times, strict=True)]
    found = align_passage(words, Passage(0, len(words), " ".join(b)))
    assert [word.text for word in found] == b
    starts = [word.start for word in found]
    assert starts == sorted(starts)
    assert times[0] <= starts[0]
    assert starts[-1] <= times[-1]
    for word, j in zip(found, range(len(b)), strict=True):
        assert word.end is not None
        assert word.end >= word.start
        nearest = matched(a, b)[j]
        assert times[nearest] <= word.start <= (times[nearest + 1] if nearest + 1 < len(a) else times[nearest])


@pytest.mark.parametrize("text", ["", "... !"])
def test_a_passage_without_words_has_none(text: str) -> None:
    assert align_passage(heard("a b"), Passage(0, 2, text)) == []
