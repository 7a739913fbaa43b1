"""JSON transcripts: YT-Temporal's real layout, and the shapes that Whisper's relatives write."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.json_transcripts import parse_json, read_json
from pretrain.data.transcripts import Passage, TranscriptError, Word

# The beginning of the example that MERLOT published, shortened.
YT_TEMPORAL = {
    "denoised": [
        {"noisyasr": "guys this is a", "cleanasr": "Guys, this is a", "top_p": 0.94, "ctx_ppl": 63.0},
        {"noisyasr": "delicious &gt;&gt; sauce", "cleanasr": "delicious sauce.", "model_name": "medium"},
    ],
    "info": {"id": "WAaKRUoY6Io", "title": "Penne", "duration": 255, "license": None, "subtitles": {}},
    "subtitles": [
        {"word": "guys", "time": 0.0},
        {"word": "this", "time": 0.179},
        {"word": "is", "time": 0.359},
        {"word": "a", "time": 0.51},
        {"word": "delicious", "time": 0.539},
        {"word": "&gt;&gt;", "time": 1.0},
        {"word": "sauce", "time": 2.399},
    ],
}


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    return path


def heard(tmp_path: Path, content: Any) -> list[tuple[str, float, float | None]]:
    return [(word.text, word.start, word.end) for word in read_json(write(tmp_path, content)).words]


def test_yt_temporal(tmp_path: Path) -> None:
    transcript = read_json(write(tmp_path, YT_TEMPORAL))
    assert [word.text for word in transcript.words] == ["guys", "this", "is", "a", "delicious", "sauce"]
    assert transcript.words[1] == Word("this", 0.179, None)
    assert transcript.duration == 255
    # The second passage begins where the words of the first end; the >> in it is no word.
    assert transcript.passages == (Passage(0, 4, "Guys, this is a"), Passage(4, 6, "delicious sauce."))
    assert transcript.denoised == "Guys, this is a delicious sauce."


def test_passages_that_do_not_add_up_become_one(tmp_path: Path) -> None:
    changed = {**YT_TEMPORAL, "denoised": [{"cleanasr": "Guys, this"}, {"noisyasr": "x", "cleanasr": "is sauce."}]}
    assert read_json(write(tmp_path, changed)).passages == (Passage(0, 6, "Guys, this is sauce."),)


@pytest.mark.parametrize("denoised", [None, [], [{"noisyasr": "guys", "cleanasr": ""}]])
def test_without_denoised_text(tmp_path: Path, denoised: Any) -> None:
    transcript = read_json(write(tmp_path, {**YT_TEMPORAL, "denoised": denoised}))
    assert transcript.passages == ()
    assert transcript.denoised is None


def test_bad_entries_are_left_out_and_named(tmp_path: Path) -> None:
    subtitles = [{"word": "a", "time": 1}, {"word": "b"}, {"word": "c", "time": "soon"}, {"word": "d", "time": 0.5}]
    transcript = read_json(write(tmp_path, {"subtitles": subtitles}))
    assert transcript.words == (Word("a", 1.0),)
    assert [flaw.split(":")[0] for flaw in transcript.flaws] == ["subtitles[1]", "subtitles[2]", "subtitles[3]"]


def test_openai_whisper_with_and_without_words(tmp_path: Path) -> None:
    words = [
        {"word": " Hello", "start": 0.5, "end": 0.9, "probability": 0.9},
        {"word": " you.", "start": 1.0, "end": 1.4},
    ]
    segments = [
        {"id": 0, "start": 0.5, "end": 1.4, "text": " Hello you.", "words": words},
        {"id": 1, "start": 2.0, "end": 4.0, "text": " And me?"},
    ]
    expected = [("Hello", 0.5, 0.9), ("you.", 1.0, 1.4), ("And", 2.0, 3.0), ("me?", 3.0, 4.0)]
    assert heard(tmp_path, {"text": "...", "segments": segments, "language": "en"}) == expected
    assert heard(tmp_path, segments) == expected  # faster-whisper's segments, dumped


def test_whisperx_words_without_times_fill_the_gap(tmp_path: Path) -> None:
    words = [
        {"word": "in", "start": 1.0, "end": 1.2, "score": 0.9},
        {"word": "2020"},
        {"word": "we", "start": 2.2, "end": 2.4},
        {"word": "9"},
    ]
    content = {"segments": [{"start": 1.0, "end": 3.0, "text": "in 2020 we 9", "words": words}], "word_segments": words}
    assert heard(tmp_path, content) == [("in", 1.0, 1.2), ("2020", 1.2, 2.2), ("we", 2.2, 2.4), ("9", 2.4, 3.0)]


@pytest.mark.parametrize(
    "content",
    [
        {"text": "a b", "words": [{"word": "a", "start": 1, "end": 2}, {"word": "b", "start": 2, "end": 3}]},
        {"text": "a b", "segments": [{"start": 0, "end": 9, "text": "a b"}],
         "words": [{"word": "a", "start": 1, "end": 2}, {"word": "b", "start": 2, "end": 3}]},
        {"text": "a b", "chunks": [{"timestamp": [1, 3], "text": "a b"}]},
        {"transcription": [{"offsets": {"from": 1000, "to": 3000}, "text": " a b"}]},
    ],
)  # fmt: skip
def test_other_shapes(tmp_path: Path, content: Any) -> None:
    assert heard(tmp_path, content) == [("a", 1.0, 2.0), ("b", 2.0, 3.0)]


def test_malformed_json_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"segments": [\n  {"start": 1,}\n]}')
    with pytest.raises(TranscriptError, match=r"a\.json, line 2: column 15"):
        read_json(path)


@pytest.mark.parametrize("content", [{}, {"title": "x"}, "text", 3, None, {"segments": 3}])
def test_json_without_a_transcript_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(TranscriptError, match=r"a\.json: no transcript"):
        read_json(write(tmp_path, content))


def test_segments_that_all_fail_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="segment 0: no 'start'"):
        read_json(write(tmp_path, {"segments": [{"text": "a"}]}))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-5, 5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["segments", "words", "word", "start", "end", "text", "subtitles", "time", "denoised",
                         "noisyasr", "cleanasr", "timestamp", "offsets", "info", "chunks"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(content=JSON)
def test_any_json_is_read_or_refused(content: Any) -> None:
    try:
        transcript = parse_json(content, Path("a.json"))
    except TranscriptError:
        return
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    assert all(0 <= p.first < p.last <= len(starts) for p in transcript.passages)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"segments": [{"start": 1%s, "end": 2, "text": "a"}]}' % ("0" * 5000),
            "a number in it has thousands of digits",
        ),
        ('{"segments": [{"start": 1%s, "end": 2, "text": "a"}]}' % ("0" * 400), "segment 0: .* is not a time"),
        (
            '{"transcription": [{"offsets": 5, "text": "a"}]}',
            "segment 0: its text or its times are missing or of another",
        ),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(TranscriptError, match=sentence):
        read_json(path)


def test_null_is_no_word(tmp_path: Path) -> None:
    assert heard(tmp_path, {"segments": [{"start": 0, "end": 2, "text": None}]}) == []
    assert heard(tmp_path, {"subtitles": [{"word": None, "time": 1}, {"word": "yes", "time": 2}]}) == [
        ("yes", 2.0, None)
    ]


@pytest.mark.parametrize("denoised", [5, "words", [{"cleanasr": 5, "noisyasr": "a"}], {"cleanasr": "a"}])
def test_denoised_text_of_another_kind_leaves_the_words_as_heard(tmp_path: Path, denoised: Any) -> None:
    content = {"subtitles": [{"word": "a", "time": 1.0}], "denoised": denoised}
    transcript = read_json(write(tmp_path, content))
    assert (transcript.passages, len(transcript.words)) == ((), 1)


def test_a_passage_too_long_to_align_stays_as_it_was_heard_and_is_named(tmp_path: Path) -> None:
    """Of 5,000 words on both sides: a warping path through 25 million pairs would take minutes and gigabytes."""
    words = [f"w{i}" for i in range(5000)]
    content = {
        "subtitles": [{"word": word, "time": i / 2} for i, word in enumerate(words)],
        "denoised": [{"noisyasr": "does not add up", "cleanasr": " ".join(words).upper()}],
    }
    transcript = read_json(write(tmp_path, content))
    assert transcript.passages == ()
    assert transcript.flaws == ("denoised passage 0: 5,000 words are too many to align with 5,000 heard",)
