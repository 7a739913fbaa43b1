"""WebVTT and SRT files written here, with the words and times they must give."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.subtitles import read_subtitles
from pretrain.data.transcripts import TranscriptError, Word

ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.000 --> 00:00:02.060 align:start position:0%
\x20
guys<00:00:00.500><c> this</c><00:00:01.000><c> is</c>

00:00:02.060 --> 00:00:02.070 align:start position:0%
guys this is
\x20

00:00:02.070 --> 00:00:04.000 align:start position:0%
guys this is
sweet<00:00:03.000><c.colorCCCCCC> tomato</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
sweet tomato
\x20

00:00:04.010 --> 00:00:06.000 align:start position:0%
sweet tomato
[Music]

00:00:06.000 --> 00:00:06.010 align:start position:0%
[Music]
\x20

00:00:06.010 --> 00:00:08.000 align:start position:0%
[Music]
yes
"""


def write(tmp_path: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def heard(path: Path) -> list[tuple[str, float]]:
    return [(word.text, round(word.start, 3)) for word in read_subtitles(path).words]


def test_words_of_a_cue_share_it_evenly(tmp_path: Path) -> None:
    path = write(tmp_path, "a.vtt", "WEBVTT\n\n1\n00:01.000 --> 00:04.000\nA &amp; <i>red</i> big\nball\n")
    transcript = read_subtitles(path)
    assert transcript.words == (
        Word("A", 1, 1.75),
        Word("red", 1.75, 2.5),
        Word("big", 2.5, 3.25),
        Word("ball", 3.25, 4),
    )
    assert transcript.flaws == ()
    assert transcript.source == path


def test_rolling_captions_are_read_once_with_their_word_times(tmp_path: Path) -> None:
    expected = [("guys", 0), ("this", 0.5), ("is", 1), ("sweet", 2.07), ("tomato", 3), ("yes", 6.01)]
    assert heard(write(tmp_path, "a.en.vtt", ROLLING)) == expected


def test_rolling_captions_converted_to_srt_are_read_once(tmp_path: Path) -> None:
    cues = [(0, ["one two"]), (2, ["one two", "three"]), (4, ["three", "four"]), (6, ["four", "five"])]
    text = "".join(
        f"{i}\n00:00:0{start},000 --> 00:00:0{start + 2},000\n{chr(10).join(lines)}\n\n"
        for i, (start, lines) in enumerate(cues, 1)
    )
    assert [word for word, _ in heard(write(tmp_path, "a.srt", text))] == ["one", "two", "three", "four", "five"]


def test_a_line_said_twice_in_ordinary_subtitles_stays(tmp_path: Path) -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nno\n\n00:02.000 --> 00:03.000\nno\n\n00:03.000 --> 00:04.000\nyes\n"
    assert [word for word, _ in heard(write(tmp_path, "a.vtt", text))] == ["no", "no", "yes"]


def test_notes_styles_and_settings_are_not_said(tmp_path: Path) -> None:
    text = (
        "WEBVTT - a title\n\nNOTE\nnot --> a cue\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:r\n\n"
        "intro\n00:00:01.000 --> 00:00:02.000 line:0 region:r\n<v Ann>Hello <c.loud>you</c>\n"
    )
    path = write(tmp_path, "a.vtt", text)
    assert heard(path) == [("Hello", 1), ("you", 1.5)]
    assert read_subtitles(path).flaws == ()


def test_srt_without_blank_lines_and_with_windows_line_ends(tmp_path: Path) -> None:
    text = "1\r\n00:00:01,000 --> 00:00:02,000\r\none\r\n2\r\n00:00:02,000 --> 00:00:03,5\r\n{\\an8}two\r\n"
    assert heard(write(tmp_path, "a.srt", text)) == [("one", 1), ("two", 2)]


def test_a_malformed_cue_is_left_out_and_named_with_its_line(tmp_path: Path) -> None:
    good, bad, reversed_ = "00:01.000 --> 00:02.000", "00:02.000 --> 00:1d.000", "00:05.000 --> 00:04.000"
    text = f"WEBVTT\n\n{good}\none\n\n{bad}\ntwo\n\n{reversed_}\nthree\n\nfour\n"
    transcript = read_subtitles(write(tmp_path, "a.vtt", text))
    assert [word.text for word in transcript.words] == ["one"]
    lines = [flaw.split(":")[0] for flaw in transcript.flaws]
    assert lines == ["line 6", "line 9", "line 12"]
    assert "00:1d.000" in transcript.flaws[0]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.vtt", "", "line 1"),
        ("a.vtt", "00:01.000 --> 00:02.000\nhello\n", "line 1"),
        ("a.vtt", "WEBVTT\n\n00:0x --> 1\nhello\n", "line 3"),
        ("a.srt", "some text\n", "line 1"),
        ("a.srt", "1\n00:00:01 -> 00:00:02\nhello\n", "line 1"),
    ],
)
def test_nothing_readable_is_an_error_with_file_and_line(tmp_path: Path, name: str, text: str, line: str) -> None:
    with pytest.raises(TranscriptError, match=rf"{name}, {line}:"):
        read_subtitles(write(tmp_path, name, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="no such file"):
        read_subtitles(tmp_path / "gone.vtt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = write(tmp_path, "a.vtt", f"{mark}WEBVTT\n\n00:01.000 --> 00:02.000\nétoile\n", encoding)
    transcript = read_subtitles(path)
    assert [word.text for word in transcript.words] == ["étoile"]
    assert (transcript.flaws != ()) == (encoding == "latin-1")


def test_no_cues_is_a_transcript_without_words(tmp_path: Path) -> None:
    assert read_subtitles(write(tmp_path, "a.vtt", "WEBVTT\n")).words == ()
    assert read_subtitles(write(tmp_path, "a.srt", "\n")).words == ()


@given(text=st.text(max_size=400), suffix=st.sampled_from([".vtt", ".srt"]))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        words = read_subtitles(path).words
    except TranscriptError:
        return
    assert [word.start for word in words] == sorted(word.start for word in words)


LINES = st.sampled_from(
    ["WEBVTT", "", " ", "1", "00:01.000 --> 00:02.000", "00:00:03,500 --> 00:00:09,000 align:start", "-->", "word",
     "two words", "<00:00:01.500>", "a<00:00:04.000><c> b</c>", "NOTE x", "STYLE", "<b", "00:99.000 --> 00:02.000"]
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=25), suffix=st.sampled_from([".vtt", ".srt"]))
def test_any_order_of_plausible_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[str], suffix: str) -> None:
    path = tmp_path_factory.mktemp("lines") / f"a{suffix}"
    path.write_text("\n".join(lines))
    try:
        words = read_subtitles(path).words
    except TranscriptError:
        return
    for word in words:
        assert word.text.strip()
        assert 0 <= word.start <= (word.end or word.start) <= 9
