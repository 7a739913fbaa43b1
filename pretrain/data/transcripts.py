"""The words of a video and their times: the types that readers of all formats fill, and times for denoised words.

Those are found by dynamic time warping between the words as heard and as cleaned, over edit distance:

    heard     yeah   guys   this   is   delishes        times are known
    cleaned   Hey    guys,  this        is  delicious.  times are wanted

The cost of a pair is the edit distance of the two words in lower case without punctuation (MERLOT's, and TVTS's, cost).
"""

from __future__ import annotations

import codecs
import html
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dtaidistance import dtw
from dtaidistance.innerdistance import CustomInnerDist
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from tvts_bench.errors import UserError
from tvts_bench.regular_file import read_regular

MOST_BYTES = 64 << 20
"""Of a transcript; the words of a whole day, each with times and scores in JSON, take half of it."""

_BYTE_ORDER_MARKS = {  # the longer first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SOUND = re.compile(
    r"\[[^\[\]]{0,120}\]|\([^()]{0,120}\)|（[^（）]{0,120}）|【[^【】]{0,120}】"  # [Music], [BLANK_AUDIO], (applause)
    r"|<\|[^<>|]{0,40}\|>"  # Whisper's own tokens: <|nospeech|>
    r"|[♩♪♫♬]+"
)
_BREAK = re.compile(r"\\[Nh]|[\ud800-\udfff]")  # SubStation's line break and hard space; half a character, of JSON
_TOLERANCE = 1.0  # seconds by which a passage may begin before the one in front of it


class TranscriptError(UserError):
    """A transcript that cannot be read. The message names the file and, where there is one, the line."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}, line {line}: {problem}" if line else f"{path}: {problem}")
        self.path, self.line, self.problem = path, line, problem

    def __reduce__(self) -> tuple[type[TranscriptError], tuple[Path, int | None, str]]:
        return type(self), (self.path, self.line, self.problem)  # crosses from a worker to the main process


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word."""

    text: str
    start: float  # seconds from the first frame
    end: float | None = None  # seconds; None where the source gives only the start


@dataclass(frozen=True, slots=True)
class Passage:
    """Denoised text of the words `first` to `last - 1` of a transcript: spelling and punctuation without times."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The words of one video in the order they are said.

    `words` are sorted by start. `passages` are the denoised texts, in order and without overlap; empty where the
    source has none. `flaws` are parts of the file that could not be used, one sentence each with its line.
    """

    words: tuple[Word, ...]
    source: Path
    passages: tuple[Passage, ...] = ()
    flaws: tuple[str, ...] = ()
    duration: float | None = None  # seconds, where the transcript's file says it

    @property
    def denoised(self) -> str | None:
        """The whole denoised text, None where the source has none."""
        return " ".join(passage.text for passage in self.passages) or None


def read_text(path: Path) -> str:
    """The text of a transcript's file: UTF-8, or whatever its byte order mark says; line ends as they are.

    Other encodings are not guessed: a wrong guess is a text of wrong words, and nobody would notice.

    Raises:
        TranscriptError: unreadable, no regular file, too large, or in another encoding, with the line.
    """
    try:
        data = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise TranscriptError(path, None, (error.strerror or str(error)).lower()) from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TranscriptError(path, line, f"not {encoding.removesuffix('-sig').upper()}; save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TranscriptError(path, line, "a zero byte, which no text has; save it as UTF-8")
    return text


def plain_texts(texts: Sequence[str]) -> list[str]:
    """Consecutive texts as they are said: entities and line breaks resolved, bracketed sounds and notes gone.

    A sound may extend over several texts, as where each is a word: `(upbeat` and `music)` both become empty.

    Raises:
        ValueError: a character reference of thousands of digits.
    """
    joined = html.unescape("\0".join(text.replace("\0", " ") for text in texts))
    joined = _SOUND.sub(lambda sound: " " + "\0" * sound[0].count("\0"), _BREAK.sub(" ", joined))
    return joined.split("\0") if texts else []


def clean(token: str) -> str:
    """A token as a word: surrounding white space gone; empty if no letter or digit is left."""
    text = token.strip()
    return text if any(character.isalnum() for character in text) else ""


def spread(text: str, start: float, end: float | None) -> list[Word]:
    """The words of a text, each given an equal share of its time; all at its start without an end.

    Args:
        text: one of `plain_texts`.
        start: seconds.
        end: seconds.
    """
    tokens = [word for token in text.split() if (word := clean(token))]
    if end is None:
        return [Word(token, start) for token in tokens]
    edges = [start + (end - start) * i / max(len(tokens), 1) for i in range(len(tokens) + 1)]
    return [Word(token, *edge) for token, edge in zip(tokens, itertools.pairwise(edges), strict=True)]


def where_times_restart(spans: Iterable[tuple[float, float | None]]) -> int | None:
    """The first of `spans` (start and end in seconds) that goes back behind those before it; None if none does.

    So it is where files were joined, or windows of a long recording that each count from 0: nobody knows how much is to
    be added from there on. Less than a second back is one speaker interrupting another. A span that begins with the
    one before it goes back where that one has an end that is later; captions of one time have none.
    """
    latest, until = -math.inf, -math.inf
    for number, (start, end) in enumerate(spans):
        if start < latest - _TOLERANCE or (start <= latest and start < until - _TOLERANCE):
            return number
        if start >= latest:
            latest, until = start, -math.inf if end is None else end
    return None


def ordered(words: Iterable[Word]) -> tuple[Word, ...]:
    """Words sorted by start; equal starts keep their order."""
    return tuple(sorted(words, key=lambda word: word.start))


def text_between(words: Sequence[Word], start: float, end: float) -> str:
    """The words that begin in a span, joined by spaces.

    Args:
        words: of a video.
        start: seconds.
        end: seconds, no part of it.
    """
    return " ".join(word.text for word in words if start <= word.start < end)


RADIUS_SHARE = 0.1  # of the words heard: how far a word may be moved, as MERLOT has it
RADIUS_LEAST = 32  # words


def spoken_words(transcript: Transcript) -> tuple[Word, ...]:
    """The words to train on: denoised ones with times where there are any, else the words as heard."""
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
    cost = cdist(heard, cleaned, scorer=Levenshtein.distance, dtype=np.int32, processor=_letters)
    best = np.full(len(cleaned), -1, dtype=np.intp)
    for i, j in _warping_path(cost):
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
    ends = [word.end, *(following.start for following in words[index + 1 : index + 2])]
    return max(min((end for end in ends if end is not None), default=word.start), word.start)
