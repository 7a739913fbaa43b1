"""One spoken text in every format of transcripts: the words read are the same whoever wrote the file."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.layouts import read_transcript
from pretrain.data.transcripts import TranscriptError

Cue = tuple[int, int, str]  # start and end in milliseconds, and what is said


def clock(milliseconds: int, mark: str) -> str:
    """A time as VTT (mark ".") and SRT (mark ",") write it."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{rest:03d}"


def vtt(cues: Sequence[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(f"{clock(a, '.')} --> {clock(b, '.')}\n{text}\n\n" for a, b, text in cues)


def srt(cues: Sequence[Cue]) -> str:
    numbered = enumerate(cues, start=1)
    return "".join(f"{i}\n{clock(a, ',')} --> {clock(b, ',')}\n{text}\n\n" for i, (a, b, text) in numbered)


def named_tuples(cues: Sequence[Cue]) -> Any:
    """What `json.dump` makes of faster-whisper's named tuples: id, seek, start, end, text, tokens, scores, words."""
    return [
        [i, 0, a / 1000, b / 1000, text, [50364, 291], 0.0, -0.2, 1.4, 0.1, None] for i, (a, b, text) in enumerate(cues)
    ]


FORMATS: dict[str, Callable[[Sequence[Cue]], Any]] = {
    "a.vtt": vtt,
    "a.srt": srt,
    "whisper.json": lambda cues: {
        "segments": [{"start": a / 1000, "end": b / 1000, "text": text} for a, b, text in cues]
    },
    "chunks.json": lambda cues: {"chunks": [{"timestamp": [a / 1000, b / 1000], "text": text} for a, b, text in cues]},
    "cpp.json": lambda cues: {
        "transcription": [{"offsets": {"from": a, "to": b}, "text": text} for a, b, text in cues]
    },
    "tuples.json": named_tuples,
    "triples.json": lambda cues: [[a / 1000, b / 1000, text] for a, b, text in cues],
}


def write(folder: Path, name: str, cues: Sequence[Cue]) -> Path:
    content = FORMATS[name](cues)
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def heard(path: Path) -> list[tuple[str, float]]:
    return [(word.text, round(word.start, 3)) for word in read_transcript(path).words]


@pytest.mark.parametrize("name", FORMATS)
def test_sounds_are_not_said(name: str, tmp_path: Path) -> None:
    cues = [
        (0, 2000, "[BLANK_AUDIO]"),
        (2000, 4000, "[ Music ]"),
        (4000, 6000, "so we [Music] start (applause)"),
        (6000, 8000, "♪ la la ♪ （拍手）"),
        (8000, 9000, "(upbeat music)"),
    ]
    said = [("so", 4.0), ("we", 4.667), ("start", 5.333), ("la", 6.0), ("la", 7.0)]
    assert heard(write(tmp_path, name, cues)) == said


@pytest.mark.parametrize(
    "content",
    [
        {"segments": [{"words": [{"word": w, "start": i, "end": i + 1} for i, w in enumerate(
            ["so", " (upbeat", " music)", "[Music]", " we"])]}]},
        {"chunks": [{"timestamp": [i, i + 1], "text": w} for i, w in enumerate(
            ["so", " (upbeat music)", "♪", "[Music]", " we"])]},
        {"subtitles": [{"word": w, "time": i} for i, w in enumerate(["so", "(upbeat", "music)", "[Music]", "we"])]},
        [[0, 0, 0.0, 5.0, "so we", [1], 0.0, -0.2, 1.4, 0.1, [
            [i, i + 1, w, 0.9] for i, w in enumerate(["so", " (upbeat", " music)", "[Music]", " we"])]]],
    ],
    ids=["words", "chunks", "yt_temporal", "tuples"],
)  # fmt: skip
def test_sounds_among_words_with_times_are_not_said(content: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert heard(tmp_path / "a.json") == [("so", 0.0), ("we", 4.0)]


def test_denoised_text_has_no_sounds_either(tmp_path: Path) -> None:
    words = [{"word": word, "time": i} for i, word in enumerate(["[Music]", "hello"])]
    denoised = [{"noisyasr": "[Music] hello", "cleanasr": "[Music] Hello&nbsp;you."}]
    (tmp_path / "a.json").write_text(json.dumps({"subtitles": words, "denoised": denoised}))
    denoised_text = read_transcript(tmp_path / "a.json").denoised
    assert denoised_text is not None
    assert denoised_text.split() == ["Hello", "you."]


@pytest.mark.parametrize("name", FORMATS)
def test_times_that_begin_anew_are_named(name: str, tmp_path: Path) -> None:
    """As pipelines write them that cut a long recording into windows and forget to add where each begins."""
    transcript = read_transcript(
        write(tmp_path, name, [(0, 9000, "a b"), (20_000, 29_000, "c"), (0, 9000, "d"), (30_000, 31_000, "e")])
    )
    assert [word.text for word in transcript.words] == ["a", "b", "c"]
    assert len(transcript.flaws) == 1
    assert "times begin anew" in transcript.flaws[0]
    assert "2 " in transcript.flaws[0]


def test_windows_of_one_segment_each_begin_anew_at_once(tmp_path: Path) -> None:
    """Both begin at 0, and the first lasts 29 s: what is said in the second is not said at the same time."""
    path = write(
        tmp_path, "chunks.json", [(0, 29_000, "first part"), (0, 28_000, "second part"), (27_000, 28_000, "tail")]
    )
    transcript = read_transcript(path)
    assert [word.text for word in transcript.words] == ["first", "part"]
    assert transcript.flaws == ("segment 1: times begin anew at 0 s, so 2 segments from here on are left out",)


def test_words_whose_times_begin_anew_are_refused(tmp_path: Path) -> None:
    words = [{"word": "a", "start": start, "end": start + 1} for start in (0, 10, 0)]
    (tmp_path / "a.json").write_text(json.dumps({"text": "a a a", "words": words}))
    with pytest.raises(TranscriptError, match=r"a\.json: segment 0: the times of its words begin anew"):
        read_transcript(tmp_path / "a.json")


def test_tuples_that_cannot_be_told_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([[0, 1, "said"], ["id", 0, "text"], [True, 2, "no"]]))
    transcript = read_transcript(tmp_path / "a.json")
    assert [word.text for word in transcript.words] == ["said"]
    assert [flaw.split(":")[0] for flaw in transcript.flaws] == ["segment 1", "segment 2"]


def test_half_a_character_is_none(tmp_path: Path) -> None:
    """JSON can write half of a surrogate pair, which no tokenizer takes."""
    (tmp_path / "a.json").write_text('{"segments": [{"start": 0, "end": 2, "text": "\\ud83da b \\ud83d\\ude00c"}]}')
    assert heard(tmp_path / "a.json") == [("a", 0.0), ("b", 0.667), ("😀c", 1.333)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n&#" + "9" * 5000 + ";\n"),
        ("a.json", '{"subtitles": [{"word": "&#' + "9" * 5000 + ';", "time": 1}]}'),
        ("a.json", '{"subtitles": [{"word": "a", "time": 1}], "info": {"duration": 1' + "0" * 5000 + "}}"),
        ("a.json", "[" * 100_000),
        ("a.json", '{"a":' * 100_000),
    ],
)
def test_what_exhausts_a_parser_is_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TranscriptError, match=f"{name}: not a transcript"):
        read_transcript(tmp_path / name)


def test_a_length_that_no_video_has_is_ignored(tmp_path: Path) -> None:
    content = '{"subtitles": [{"word": "a", "time": 1}], "info": {"duration": 1' + "0" * 400 + "}}"
    (tmp_path / "a.json").write_text(content)
    assert read_transcript(tmp_path / "a.json").duration is None


WORDS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=6)
CUES = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 5000), st.lists(WORDS, min_size=1, max_size=4)),
    min_size=1,
    max_size=6,
)


@given(drawn=CUES, name=st.sampled_from(sorted(FORMATS)))
def test_any_cues_come_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, list[str]]], name: str
) -> None:
    """Each cue begins some time after the one before, which by then is over; its words share its time."""
    cues: list[Cue] = []
    expected = []
    end = 0
    for pause, length, words in drawn:
        start, end = end + pause, end + pause + length
        cues.append((start, end, " ".join(words)))
        expected += [(word, (start + length * i / len(words)) / 1000) for i, word in enumerate(words)]
    transcript = read_transcript(write(tmp_path_factory.mktemp("any"), name, cues))
    assert transcript.flaws == ()
    assert [word.text for word in transcript.words] == [word for word, _ in expected]
    assert [word.start for word in transcript.words] == pytest.approx([start for _, start in expected], abs=1e-6)
