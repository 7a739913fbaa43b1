"""What was said in a video and when: the types that every reader fills and every sampler uses."""

from __future__ import annotations

import codecs
import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """The words of `text`, each given an equal share of `start` to `end` (seconds); all at `start` without an end.

    `text` is one of `plain_texts`.
    """
    tokens = [word for token in text.split() if (word := clean(token))]
    if end is None:
        return [Word(token, start) for token in tokens]
    edges = [start + (end - start) * i / len(tokens) for i in range(len(tokens) + 1)] if tokens else []
    return [Word(token, edges[i], edges[i + 1]) for i, token in enumerate(tokens)]


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
    """The words that begin in [start, end) seconds, joined by spaces."""
    return " ".join(word.text for word in words if start <= word.start < end)
