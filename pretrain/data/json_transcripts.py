"""Transcripts in JSON: YT-Temporal's annotations, and what Whisper and its relatives write.

YT-Temporal-180M (as MERLOT released it), one object a video:

    {"subtitles": [{"word": "guys", "time": 0.179}, ...],               as heard; `time` is when the word begins
     "denoised":  [{"noisyasr": "guys this", "cleanasr": "Guys, this"}, ...],
     "info":      {"id": "WAaKRUoY6Io", "duration": 255, ...}}

The `noisyasr` texts one after the other are the words of `subtitles`, so each passage is aligned by itself.

Whisper: `segments` (openai-whisper, whisperX, the OpenAI API), a bare list of segments (faster-whisper's dumped as they
are), `chunks` (transformers) or `transcription` (whisper.cpp). Words without a time of their own share what their
neighbours leave; a segment without words is spread evenly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrain.data.transcripts import Passage, Transcript, TranscriptError, Word, clean, ordered, spread

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
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text)
    except OSError as error:
        raise TranscriptError(path, None, (error.strerror or str(error)).lower()) from error
    except UnicodeDecodeError as error:
        raise TranscriptError(path, None, f"byte {error.start} is not UTF-8; JSON has to be") from error
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
        if not segments and isinstance(content.get("words"), list):
            segments = [{"words": content["words"]}]
    if not isinstance(segments, list):
        found = ", ".join(list(content)[:6]) if isinstance(content, Mapping) else type(content).__name__
        expected = "subtitles (YT-Temporal) or segments (Whisper)"
        raise TranscriptError(path, None, f"no transcript: expected {expected}, found {found or 'nothing'}")
    words: list[Word] = []
    flaws: list[str] = []
    timed = isinstance(content, Mapping) and _segment_words_missing(segments) and isinstance(content.get("words"), list)
    for number, segment in enumerate([{"words": content["words"]}] if timed else segments):
        try:
            words += _segment_words(segment)
        except (KeyError, TypeError, ValueError) as error:
            flaws.append(f"segment {number}: {_reason(error)}")
    if flaws and not words:
        raise TranscriptError(path, None, f"{flaws[0]}, and no other segment can be read")
    return Transcript(words=ordered(words), source=path, flaws=tuple(flaws))


def _yt_temporal(content: Mapping[str, Any], path: Path) -> Transcript:
    words: list[Word] = []
    kept: list[int] = []  # for each entry of `subtitles`, how many words before it are kept
    flaws: list[str] = []
    for number, entry in enumerate(content["subtitles"]):
        kept.append(len(words))
        try:
            text, start = clean(_text(entry["word"])), _time(entry["time"])
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
    info = content.get("info")
    duration = info.get("duration") if isinstance(info, Mapping) else None
    return Transcript(
        words=tuple(words),
        source=path,
        passages=passages,
        flaws=tuple(flaws),
        duration=float(duration) if isinstance(duration, int | float) and duration > 0 else None,
    )


def _passages(content: Mapping[str, Any], kept: Sequence[int]) -> tuple[Passage, ...]:
    """Denoised passages; all of them as one where their heard sides do not add up to `subtitles`."""
    denoised = content.get("denoised")
    spans = [span for span in denoised if isinstance(span, Mapping)] if isinstance(denoised, list) else []
    spans = [span for span in spans if isinstance(span.get("cleanasr"), str) and span["cleanasr"]]
    if not spans or kept[-1] == 0:
        return ()
    heard = [len(str(entry.get("word", "")).split()) for entry in content["subtitles"] if isinstance(entry, Mapping)]
    sizes = [len(str(span.get("noisyasr", "")).split()) for span in spans]
    if len(heard) != len(kept) - 1 or any(size != 1 for size in heard) or sum(sizes) != len(heard):
        return (Passage(0, kept[-1], " ".join(str(span["cleanasr"]) for span in spans)),)
    passages, first = [], 0
    for span, size in zip(spans, sizes, strict=True):
        if kept[first] < kept[first + size]:
            passages.append(Passage(kept[first], kept[first + size], str(span["cleanasr"])))
        first += size
    return tuple(passages)


def _alignable(passages: Sequence[Passage]) -> tuple[tuple[Passage, ...], list[str]]:
    """The passages that can be aligned in seconds, and a sentence on each of the others: it stays as it was heard."""
    flaws = []
    kept = []
    for number, passage in enumerate(passages):
        heard, cleaned = passage.last - passage.first, len(passage.text.split())
        if heard * cleaned <= ALIGNABLE:
            kept.append(passage)
        else:
            flaws.append(f"denoised passage {number}: {cleaned:,} words are too many to align with {heard:,} heard")
    return tuple(kept), flaws


def _segment_words_missing(segments: Sequence[Any]) -> bool:
    return not any(isinstance(segment, Mapping) and segment.get("words") for segment in segments)


def _segment_words(segment: Any) -> list[Word]:
    words = segment.get("words") if isinstance(segment, Mapping) else None
    if not isinstance(segment, Mapping) or (words and not _are_objects(words)):
        raise TypeError("not an object with text and times")
    if not words:
        start, end = _segment_times(segment)
        return spread(_text(segment.get("text")), start, end)
    timed: list[Word] = []
    waiting: list[str] = []  # words without times, until the next one with
    since = _time(segment["start"]) if segment.get("start") is not None else 0.0
    for word in words:
        text = clean(_text(word.get("word", word.get("text"))))
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
    """A text, empty where there is none: null is not the word "None"."""
    return "" if value is None else str(value)


def _time(value: Any) -> float:
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a time")
    return seconds


def _reason(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "its text or its times are missing or of another kind"
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
