"""What was said in a video and when: the types that every reader fills and every sampler uses."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.errors import UserError


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


def clean(token: str) -> str:
    """A token as a word: HTML entities resolved, surrounding white space gone; empty if no letter or digit is left."""
    text = html.unescape(token).strip()
    return text if any(character.isalnum() for character in text) else ""


def spread(text: str, start: float, end: float | None) -> list[Word]:
    """The words of `text`, each given an equal share of `start` to `end` (seconds); all at `start` without an end."""
    tokens = [word for token in text.split() if (word := clean(token))]
    if end is None:
        return [Word(token, start) for token in tokens]
    edges = [start + (end - start) * i / len(tokens) for i in range(len(tokens) + 1)] if tokens else []
    return [Word(token, edges[i], edges[i + 1]) for i, token in enumerate(tokens)]


def ordered(words: Iterable[Word]) -> tuple[Word, ...]:
    """Words sorted by start; equal starts keep their order."""
    return tuple(sorted(words, key=lambda word: word.start))


def text_between(words: Sequence[Word], start: float, end: float) -> str:
    """The words that begin in [start, end) seconds, joined by spaces."""
    return " ".join(word.text for word in words if start <= word.start < end)
