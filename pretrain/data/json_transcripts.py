"""Transcripts in JSON: YT-Temporal's annotations, and what Whisper and its relatives write.

YT-Temporal-180M (as MERLOT released it), one object per video:

    {"subtitles": [{"word": "guys", "time": 0.179}, ...],               as heard; `time` is when the word begins
     "denoised":  [{"noisyasr": "guys this", "cleanasr": "Guys, this"}, ...],
     "info":      {"id": "WAaKRUoY6Io", "duration": 255, ...}}

The `noisyasr` texts one after the other are the words of `subtitles`, so each passage is aligned by itself.

Whisper: `segments` (openai-whisper, whisperX, the OpenAI API), a bare list of segments (faster-whisper's dumped as they
are, which makes lists of its named tuples), `chunks` (transformers) or `transcription` (whisper.cpp). Words without a
time of their own share what their neighbours leave; a segment without words is spread evenly.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrain.data.transcripts import (
    Passage,
    Transcript,
    TranscriptError,
    Word,
    clean,
    ordered,
    plain_texts,
    read_text,
    spread,
    where_times_restart,
)

ALIGNABLE = 16_000_000
"""Pairs of a word heard and a word cleaned, in one passage, up to which they are aligned: some seconds, 200 MB."""

_SEGMENT_KEYS = ("segments", "chunks", "transcription")


def read_json(path: Path) -> Transcript:
    """The transcript in a JSON file of any of the layouts above.

    Raises:
        TranscriptError: unreadable, not JSON (with its line), or none of the layouts.
    """
    return parse_json(load(path), path)


def load(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        TranscriptError: unreadable or not JSON, with the line.
    """
    try:
        return json.loads(read_text(path))
    except TranscriptError:
        raise
    except json.JSONDecodeError as error:
        raise TranscriptError(path, error.lineno, f"column {error.colno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise TranscriptError(path, None, "not a transcript: nested too deeply") from error
    except ValueError as error:  # Python refuses whole numbers of thousands of digits
        raise TranscriptError(path, None, "not a transcript: a number in it has thousands of digits") from error


def parse_json(content: Any, path: Path) -> Transcript:
    """The transcript in parsed JSON; `path` is for messages.

    Raises:
        TranscriptError: none of the layouts, or a value of the wrong kind, named by its place.
    """
    if isinstance(content, Mapping) and isinstance(content.get("subtitles"), list):
        return _yt_temporal(content, path)
    segments = content
    if isinstance(content, Mapping):
        segments = next((content[key] for key in _SEGMENT_KEYS if key in content), None)
        has_words = isinstance(segments, list) and any(
            isinstance(each, Mapping) and each.get("words") for each in segments
        )
        if isinstance(content.get("words"), list) and not has_words and (not segments or isinstance(segments, list)):
            segments = [{"words": content["words"]}]
    if not isinstance(segments, list):
        keys = ", ".join(list(content)[:6])[:200] if isinstance(content, Mapping) else type(content).__name__
        expected = "subtitles (YT-Temporal) or segments (Whisper)"
        raise TranscriptError(path, None, f"no transcript: expected {expected}, found {keys or 'nothing'}")
    return _whisper(segments, path)


def _whisper(segments: Sequence[Any], path: Path) -> Transcript:
    """The words of segments in the order in which they stand, up to where times begin anew."""
    spoken: list[tuple[int, list[Word]]] = []  # the segments with words, and their numbers
    flaws: list[str] = []
    for number, segment in enumerate(segments):
        try:
            words = _segment_words(_by_name(segment))
        except (KeyError, TypeError, ValueError) as error:
            flaws.append(f"segment {number}: {_reason(error)}")
        else:
            spoken += [(number, words)] if words else []
    restart = where_times_restart((words[0].start, words[-1].end) for _, words in spoken)
    if restart is not None:
        number, words = spoken[restart]
        rest = f"so {len(spoken) - restart:,} segments from here on are left out"
        flaws.append(f"segment {number}: times begin anew at {words[0].start:g} s, {rest}")
    if flaws and not spoken:
        raise TranscriptError(path, None, f"{flaws[0]}, and no other segment can be read")
    kept = (word for _, words in spoken[:restart] for word in words)
    return Transcript(words=ordered(kept), source=path, flaws=tuple(flaws))


def _by_name(segment: Any) -> Any:
    """A named tuple of faster-whisper, which JSON makes a list of, as the object that it was; all else unchanged.

    Segments are `id, seek, start, end, text, ...` or, earlier, `start, end, text, ...`, with the list of words
    somewhere behind; words are `start, end, word, probability`.
    """
    if not isinstance(segment, list):
        return segment
    first = next((at for at in (2, 0) if _is_spoken(segment[at : at + 3])), None)
    if first is None:
        return segment
    start, end, text = segment[first : first + 3]
    words = next((part for part in segment[first + 3 :] if isinstance(part, list) and _are_spoken(part)), [])
    named = [{"start": word[0], "end": word[1], "word": word[2]} for word in words]
    return {"start": start, "end": end, "text": text, "words": named}


def _are_spoken(words: Sequence[Any]) -> bool:
    return bool(words) and all(isinstance(word, list) and _is_spoken(word[:3]) for word in words)


def _is_spoken(parts: Sequence[Any]) -> bool:
    """Whether `parts` are a start, an end and a text."""
    return (
        len(parts) == 3
        and all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts[:2])
        and isinstance(parts[2], str)
    )


def _yt_temporal(content: Mapping[str, Any], path: Path) -> Transcript:
    words: list[Word] = []
    kept: list[int] = []  # for each entry of `subtitles`, how many words before it are kept
    flaws: list[str] = []
    subtitles = content["subtitles"]
    for number, (entry, plain) in enumerate(zip(subtitles, plain_texts(_words_of(subtitles)), strict=True)):
        kept.append(len(words))
        try:
            _text(entry["word"])
            text, start = clean(plain), _time(entry["time"])
        except (KeyError, TypeError, ValueError) as error:
            flaws.append(f"subtitles[{number}]: {_reason(error)}")
            continue
        if text and (not words or start >= words[-1].start):
            words.append(Word(text, start))
        elif text:
            flaws.append(f"subtitles[{number}]: {start:g} s is before the word in front of it")
    if flaws and not words:
        raise TranscriptError(path, None, f"{flaws[0]}, and no other word can be read")
    passages, too_long = _alignable(_passages(content, [*kept, len(words)]))
    flaws += too_long
    return Transcript(
        words=tuple(words), source=path, passages=passages, flaws=tuple(flaws), duration=_duration(content)
    )


def _words_of(subtitles: Sequence[Any]) -> list[str]:
    """The text of each entry of YT-Temporal's `subtitles`, empty where it has none."""
    words = [entry.get("word") if isinstance(entry, Mapping) else None for entry in subtitles]
    return [str(word) if isinstance(word, str | int | float) else "" for word in words]


def _duration(content: Mapping[str, Any]) -> float | None:
    info = content.get("info")
    try:
        return _time(info.get("duration")) or None if isinstance(info, Mapping) else None
    except (TypeError, ValueError):
        return None


def _passages(content: Mapping[str, Any], kept: Sequence[int]) -> tuple[Passage, ...]:
    """Denoised passages; all of them as one where their heard sides do not add up to `subtitles`."""
    denoised = content.get("denoised")
    spans = [span for span in denoised if isinstance(span, Mapping)] if isinstance(denoised, list) else []
    spans = [span for span in spans if isinstance(span.get("cleanasr"), str) and span["cleanasr"]]
    texts = plain_texts([span["cleanasr"] for span in spans])
    if not spans or kept[-1] == 0:
        return ()
    heard = [len(str(entry.get("word", "")).split()) for entry in content["subtitles"] if isinstance(entry, Mapping)]
    sizes = [len(str(span.get("noisyasr", "")).split()) for span in spans]
    if len(heard) != len(kept) - 1 or any(size != 1 for size in heard) or sum(sizes) != len(heard):
        return (Passage(0, kept[-1], " ".join(texts)),)
    passages, first = [], 0
    for text, size in zip(texts, sizes, strict=True):
        if kept[first] < kept[first + size]:
            passages.append(Passage(kept[first], kept[first + size], text))
        first += size
    return tuple(passages)


def _alignable(passages: Sequence[Passage]) -> tuple[tuple[Passage, ...], list[str]]:
    """The passages that can be aligned in seconds, and a sentence on each of the others: it stays as it was heard."""
    kept, flaws = [], []
    for number, passage in enumerate(passages):
        heard, cleaned = passage.last - passage.first, len(passage.text.split())
        if heard * cleaned <= ALIGNABLE:
            kept.append(passage)
        else:
            flaws.append(f"denoised passage {number}: {cleaned:,} words are too many to align with {heard:,} heard")
    return tuple(kept), flaws


def _segment_words(segment: Any) -> list[Word]:
    words = segment.get("words") if isinstance(segment, Mapping) else None
    if not isinstance(segment, Mapping) or (words and not _are_objects(words)):
        raise TypeError("not an object with text and times")
    if not words:
        start, end = _segment_times(segment)
        return spread(plain_texts([_text(segment.get("text"))])[0], start, end)
    if where_times_restart((_time(word["start"]), None) for word in words if word.get("start") is not None) is not None:
        raise ValueError("the times of its words begin anew")
    timed: list[Word] = []
    waiting: list[str] = []  # words without times, until the next one with
    since = _time(segment["start"]) if segment.get("start") is not None else 0.0
    for word, text in zip(
        words, plain_texts([_text(word.get("word", word.get("text"))) for word in words]), strict=True
    ):
        if word.get("start") is None:
            waiting.append(text)
            continue
        start = _time(word["start"])
        timed += spread(" ".join(waiting), since, max(start, since))
        waiting = []
        end = _time(word["end"]) if word.get("end") is not None else None
        since = max(start, end) if end is not None else start
        timed += spread(text, start, None if end is None else since)
    last = _time(segment["end"]) if segment.get("end") is not None else since
    return timed + spread(" ".join(waiting), since, max(last, since))


def _are_objects(words: Any) -> bool:
    return isinstance(words, list) and all(isinstance(word, Mapping) for word in words)


def _segment_times(segment: Mapping[str, Any]) -> tuple[float, float | None]:
    if "offsets" in segment:  # whisper.cpp, milliseconds
        return _time(segment["offsets"]["from"]) / 1000, _time(segment["offsets"]["to"]) / 1000
    start, end = segment["timestamp"] if "timestamp" in segment else (segment["start"], segment.get("end"))
    begin = _time(start)
    return begin, None if end is None else max(_time(end), begin)


def _text(value: Any) -> str:
    """A text, empty where there is none: null is not the word "None", and an object is no word at all."""
    if not isinstance(value, str | int | float | None):
        raise TypeError("not a text")
    return "" if value is None else str(value)


def _time(value: Any) -> float:
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{reprlib.repr(value)} is not a time")
    return seconds


def _reason(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "its text or its times are missing or of another kind"
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
