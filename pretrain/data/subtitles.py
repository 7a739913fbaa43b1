"""WebVTT and SRT: cues to words with times.

Our own reader, of the two formats at once, because the libraries for them drop a malformed cue without a word, and
none says a line. Where a cue gives no word times, its words share its duration evenly. YouTube's automatic captions
roll: every line is shown again above the next one, and words carry times of their own,

    00:00:00.000 --> 00:00:02.000
    hey<00:00:00.400><c> guys</c>
    00:00:02.000 --> 00:00:04.000
    hey guys
    today<00:00:02.500><c> we</c>

so there the word times are used and a line seen in the cue before is not read twice.
"""

from __future__ import annotations

import codecs
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pretrain.data.transcripts import Transcript, TranscriptError, Word, ordered, spread

_CLOCK = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_WORD_TIME = re.compile(rf"<{_CLOCK}>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}|\[[^\[\]]*\]")  # <i>, <c.red>; SubStation's {\an8}; [Music], never said
_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_COMMENTS = ("NOTE", "STYLE", "REGION")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown from `start` to `end` seconds, tags and entities still in them."""

    start: float
    end: float
    lines: tuple[str, ...]


def read_subtitles(path: Path) -> Transcript:
    """The words of a `.vtt` or `.srt` file.

    A cue with an impossible time is left out and named in `flaws`; so is an encoding that had to be guessed.

    Raises:
        TranscriptError: unreadable, a `.vtt` without its header, or no cue that can be used in a file that has some.
    """
    text, flaws = _decode(path)
    lines = re.split(r"\r\n|\n|\r", text)  # not splitlines: it also splits at U+2028
    is_vtt = path.suffix.lower() == ".vtt"
    if is_vtt and not _HEADER.fullmatch(lines[0]):
        raise TranscriptError(path, 1, f"a WebVTT file begins with WEBVTT, this one with {lines[0][:40]!r}")
    cues, bad = _cues(lines, is_vtt)
    if not cues and bad:
        line, problem = bad[0]
        raise TranscriptError(path, line, f"{problem}, and no other cue can be read")
    if not cues and not is_vtt and text.strip():
        raise TranscriptError(path, 1, "no cue found; an SRT file has lines such as 00:00:01,000 --> 00:00:02,500")
    flaws += [f"line {line}: {problem}" for line, problem in bad]
    return Transcript(words=ordered(_words(cues)), source=path, flaws=tuple(flaws))


def _decode(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TranscriptError(path, None, (error.strerror or str(error)).lower()) from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if encoding != "utf-8":
            raise TranscriptError(path, line, f"broken {encoding} text; save it as UTF-8") from error
        return data.decode("latin-1"), [f"line {line}: not UTF-8, the file was read as Latin-1"]


def _cues(lines: list[str], is_vtt: bool) -> tuple[list[Cue], list[tuple[int, str]]]:
    """Cues, and (line number, problem) of what looks like a cue but is none."""
    cues: list[Cue] = []
    bad: list[tuple[int, str]] = []
    for block in _blocks(lines):
        first_number, first = block[0]
        if is_vtt and first.split(" ")[0] in _COMMENTS:
            continue
        at = [i for i, (_, line) in enumerate(block) if "-->" in line]
        if not at and not (is_vtt and first_number == 1):  # else the header
            bad.append((first_number, f"text without times: {first.strip()[:60]!r}"))
        for here, following in itertools.pairwise([*at, None]):
            assert here is not None
            number, timing = block[here]
            shown = [line for _, line in block[here + 1 : following]]
            if following is not None and len(shown) > 1 and shown[-1].strip().isdigit():
                shown.pop()  # two cues without a blank line between: the number of the second is no text of the first
            problem = _problem(timing)
            if problem:
                bad.append((number, problem))
            else:
                cues.append(Cue(*_times(timing), tuple(line for line in shown if line.strip())))
    return cues, bad


def _blocks(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """Runs of (line number from 1, line) between empty lines. A line of spaces is not one: YouTube's cues have some."""
    for is_filled, run in itertools.groupby(enumerate(lines, start=1), key=lambda item: item[1] != ""):
        block = list(run)
        if is_filled and any(line.strip() for _, line in block):
            yield block


def _problem(timing: str) -> str | None:
    match = _TIMING.fullmatch(timing)
    if not match:
        return f"not a time range: {timing.strip()[:60]!r}"
    if _seconds(match.groups()[4:]) < _seconds(match.groups()[:4]):
        return f"the cue ends before it begins: {timing.strip()[:60]!r}"
    return None


def _times(timing: str) -> tuple[float, float]:
    match = _TIMING.fullmatch(timing)
    assert match is not None
    return _seconds(match.groups()[:4]), _seconds(match.groups()[4:])


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _words(cues: list[Cue]) -> Iterator[Word]:
    rolling = _is_rolling(cues)
    shown: Counter[str] = Counter()
    for cue in cues:
        fresh = []
        for line in cue.lines:
            plain = _plain(line)
            if rolling and shown[plain] and not _WORD_TIME.search(line):
                shown[plain] -= 1
            else:
                fresh.append(line)
        shown = Counter(_plain(line) for line in cue.lines)
        yield from _cue_words("\n".join(fresh), cue)


def _is_rolling(cues: list[Cue]) -> bool:
    """Whether lines are shown again in the next cue: word times tell, or that most cues do so."""
    if any(_WORD_TIME.search(line) for cue in cues for line in cue.lines):
        return True
    pairs = [(before, after) for before, after in itertools.pairwise(cues) if before.lines and after.lines]
    repeats = sum(_plain(after.lines[0]) == _plain(before.lines[-1]) for before, after in pairs)
    return repeats * 2 > len(pairs) > 1


def _plain(line: str) -> str:
    return " ".join(_TAG.sub("", line).split())


def _cue_words(text: str, cue: Cue) -> Iterator[Word]:
    """Words of a cue: from one word time to the next they share the time evenly. Times outside the cue are ignored."""
    start, rest = cue.start, 0
    for match in _WORD_TIME.finditer(text):
        time = _seconds(match.groups())
        if not start <= time <= cue.end or math.isclose(time, start):
            continue
        yield from spread(_TAG.sub("", text[rest : match.start()]), start, time)
        start, rest = time, match.end()
    yield from spread(_TAG.sub("", text[rest:]), start, cue.end)
