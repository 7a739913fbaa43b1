"""Times for denoised words: dynamic time warping between the words as heard and as cleaned, over edit distance.

    heard     yeah   guys   this   is   delishes        times are known
    cleaned   Hey    guys,  this        is  delicious.  times are wanted

The cost of a pair is the edit distance of the two words in lower case without punctuation (MERLOT's, and TVTS's, cost).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dtaidistance import dtw
from dtaidistance.innerdistance import CustomInnerDist
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from pretrain.data.transcripts import Passage, Transcript, Word, clean

RADIUS_SHARE = 0.1  # of the words heard: how far a word may be moved, as MERLOT has it
RADIUS_LEAST = 32  # words


def spoken_words(transcript: Transcript) -> tuple[Word, ...]:
    """The words to train on: denoised ones with times where there are any, else the words as heard."""
    if not transcript.passages:
        return transcript.words
    words: list[Word] = []
    done = 0
    for passage in transcript.passages:
        words += transcript.words[done : passage.first]
        words += align_passage(transcript.words, passage)
        done = passage.last
    return (*words, *transcript.words[done:])


def align_passage(words: Sequence[Word], passage: Passage) -> list[Word]:
    """The passage's denoised words, each with a time between those of its neighbours. Empty if either side is empty."""
    heard = words[passage.first : passage.last]
    cleaned = [word for token in passage.text.split() if (word := clean(token))]
    if not heard or not cleaned:
        return []
    match = matched([word.text for word in heard], cleaned)
    shares = np.bincount(match, minlength=len(heard))
    aligned: list[Word] = []
    for j, text in enumerate(cleaned):
        i = int(match[j])
        begin = heard[i].start
        end = _end(words, passage.first + i)
        before = j - int(np.searchsorted(match, i))  # denoised words that share the same heard word and come first
        step = (end - begin) / int(shares[i])
        aligned.append(Word(text, begin + before * step, begin + (before + 1) * step))
    return aligned


def matched(heard: Sequence[str], cleaned: Sequence[str]) -> NDArray[np.intp]:
    """For each cleaned word the index of the heard word it stands for: int [len(cleaned)], never decreasing.

    Of the heard words that the warping path pairs with a cleaned word it is the most similar one, the first if equal.
    """
    cost = cdist(
        [_letters(word) for word in heard],
        [_letters(word) for word in cleaned],
        scorer=Levenshtein.distance,
        dtype=np.int32,
    )
    path = _warping_path(cost)
    best = np.full(len(cleaned), -1, dtype=np.intp)
    for i, j in path:
        if best[j] < 0 or cost[i, j] < cost[best[j], j]:
            best[j] = i
    return best


def _warping_path(cost: NDArray[np.int32]) -> list[tuple[int, int]]:
    """The cheapest monotone path of (row, column) from the first to the last cell of `cost`, near its diagonal."""

    class Lookup(CustomInnerDist):  # dtaidistance's way in for any cost: the "series" are row and column numbers
        @staticmethod
        def inner_dist(x: float, y: float) -> float:
            return float(cost[int(x), int(y)])

        @staticmethod
        def result(x: float) -> float:
            return x

        @staticmethod
        def inner_val(x: float) -> float:
            return x

    rows, columns = cost.shape
    radius = max(round(rows * RADIUS_SHARE), RADIUS_LEAST)
    path: list[tuple[int, int]] = dtw.warping_path(
        np.arange(rows, dtype=float), np.arange(columns, dtype=float), window=radius, inner_dist=Lookup
    )
    return path


def _letters(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())


def _end(words: Sequence[Word], index: int) -> float:
    """When a word is over: at the start of the next, or at its own end where there is none."""
    word = words[index]
    following = words[index + 1].start if index + 1 < len(words) else None
    ends = [end for end in (word.end, following) if end is not None]
    return max(min(ends), word.start) if ends else word.start
