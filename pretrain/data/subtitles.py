"""WebVTT and SRT: cues to words with times.

Our own reader, of the two formats at once, because the libraries for them drop a malformed cue without a word, and
none says a line. Where a cue gives no word times, its words share its duration evenly. YouTube's automatic captions
roll: every line is shown again above the next one, and words carry times of their own,

    00:00:00.000 --> 00:00:02.000
    hey<00:00:00.400><c> guys</c>
    00:00:02.000 --> 00:00:04.000
    hey guys
    today<00:00:02.500><c> we</c>

so there the word times are used, and a line that has only moved up since the cue before is not read twice.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pretrain.data.transcripts import (
    Transcript,
    TranscriptError,
    Word,
    ordered,
    plain_texts,
    read_text,
    spread,
    where_times_restart,
)

_CLOCK = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_WORD_TIME = re.compile(rf"<{_CLOCK}>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")  # <i>, <c.red>, <00:01.000>; SubStation's {\an8}
_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_COMMENTS = ("NOTE", "STYLE", "REGION")
_HOLD = 0.1  # seconds up to which a cue of old lines alone is the end of a movement, not something said again
_MOST_ROLLING = 4  # lines that captions show at once


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown from `start` to `end` seconds, tags and entities still in them."""

    number: int  # of the line with its times
    start: float
    end: float
    lines: tuple[str, ...]


def read_subtitles(path: Path) -> Transcript:
    """The words of a `.vtt` or `.srt` file.

    A cue with an impossible time is left out and named in `flaws`; so is all that follows where times begin anew.

    Raises:
        TranscriptError: unreadable, a `.vtt` without its header, or no cue that can be used in a file that has some.
    """
    # A text mode makes \r\r\n of \r\n.
    text = read_text(path).replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    is_vtt = path.suffix.lower() == ".vtt"
    if is_vtt and not _HEADER.fullmatch(first := text.partition("\n")[0]):
        raise TranscriptError(path, 1, f"a WebVTT file begins with WEBVTT, this one with {first[:40]!r}")
    cues, bad = _cues(_lines(text), is_vtt)
    if not cues and bad:
        line, problem = bad[0]
        raise TranscriptError(path, line, f"{problem}, and no other cue can be read")
    if not cues and not is_vtt and text.strip():
        raise TranscriptError(path, 1, "no cue found; an SRT file has lines such as 00:00:01,000 --> 00:00:02,500")
    restart = where_times_restart((cue.start, None) for cue in cues)
    if restart is not None:
        bad.append(
            (cues[restart].number, f"times begin anew, so {len(cues) - restart:,} cues from here on are left out")
        )
    flaws = tuple(f"line {line}: {problem}" for line, problem in sorted(bad))
    return Transcript(words=ordered(_words(cues[:restart])), source=path, flaws=flaws)


def _lines(text: str) -> Iterator[str]:
    """The lines of `text` one at a time. Not `splitlines`, which also splits at U+2028."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _cues(lines: Iterable[str], is_vtt: bool) -> tuple[list[Cue], list[tuple[int, str]]]:
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
            times = _times(timing)
            if isinstance(times, str):
                bad.append((number, times))
            else:
                cues.append(Cue(number, *times, tuple(shown)))
    return cues, bad


def _blocks(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    """Runs of (line number from 1, line) between empty lines. A line of spaces is not one: YouTube's cues have some."""
    for is_filled, run in itertools.groupby(enumerate(lines, start=1), key=lambda item: item[1] != ""):
        block = list(run)
        if is_filled and any(line.strip() for _, line in block):
            yield block


def _times(timing: str) -> tuple[float, float] | str:
    """Start and end in seconds, or what is wrong with them."""
    match = _TIMING.fullmatch(timing)
    if not match:
        return f"not a time range: {timing.strip()[:60]!r}"
    start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
    return (start, end) if start <= end else f"the cue ends before it begins: {timing.strip()[:60]!r}"


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _words(cues: list[Cue]) -> Iterator[Word]:
    rolling = _is_rolling(cues)
    before: Cue | None = None
    for cue in cues:
        carried = _carried(before, cue) if rolling and before else 0
        yield from _cue_words("\n".join(cue.lines[carried:]), cue)
        before = cue


def _is_rolling(cues: list[Cue]) -> bool:
    """Whether lines move up from cue to cue: word times tell, or that most cues continue the one before."""
    if any(_WORD_TIME.search(line) for cue in cues for line in cue.lines):
        return True
    filled = (replace(cue, lines=lines) for cue in cues if (lines := tuple(line for line in cue.lines if line.strip())))
    pairs = [(_carried(before, after), len(after.lines)) for before, after in itertools.pairwise(filled)]
    rolled = sum(carried > 0 for carried, _ in pairs)
    return rolled * 2 > len(pairs) > 1 and any(0 < carried < shown for carried, shown in pairs)


def _carried(before: Cue, after: Cue) -> int:
    """How many of the first lines of `after` are the last of `before`, moved up.

    They are followed by another line, which may be empty, or shown for a moment only: a cue of nothing but what was
    said before is what is said again.
    """
    old = [_plain(line) for line in before.lines[-_MOST_ROLLING:]]
    while old and not old[-1]:
        old.pop()
    timed = (number for number, line in enumerate(after.lines) if _WORD_TIME.search(line))  # lines that are new
    new = [_plain(line) for line in after.lines[: min(next(timed, _MOST_ROLLING), _MOST_ROLLING)]]
    for count in range(min(len(old), len(new)), 0, -1):
        is_all = count == len(after.lines)
        if old[-count:] == new[:count] and any(new[:count]) and (not is_all or after.end - after.start <= _HOLD):
            return count
    return 0


def _plain(line: str) -> str:
    return " ".join(_TAG.sub("", line).split())


def _cue_words(text: str, cue: Cue) -> Iterator[Word]:
    """Words of a cue: from one word time to the next they share the time evenly. Times outside the cue are ignored."""
    start, rest = cue.start, 0
    spans: list[tuple[str, float, float]] = []
    for match in _WORD_TIME.finditer(text):
        time = _seconds(match.groups())
        if not start <= time <= cue.end or math.isclose(time, start):
            continue
        spans.append((_TAG.sub("", text[rest : match.start()]), start, time))
        start, rest = time, match.end()
    spans.append((_TAG.sub("", text[rest:]), start, cue.end))
    for plain, (_, begin, end) in zip(plain_texts([span[0] for span in spans]), spans, strict=True):
        yield from spread(plain, begin, end)
