"""WebVTT and SRT files written here, with the words and times they must give."""

import contextlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.layouts import SUFFIXES, read_transcript
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_that_name_themselves(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    path = write(tmp_path, "a.vtt", f"{mark}WEBVTT\n\n00:01.000 --> 00:02.000\nétoile 星\n", encoding)
    transcript = read_subtitles(path)
    assert [word.text for word in transcript.words] == ["étoile", "星"]
    assert transcript.flaws == ()


@pytest.mark.parametrize(
    ("encoding", "text", "problem"),
    [
        ("cp1251", "Привет", "line 3: not UTF-8; save it as UTF-8"),
        ("latin-1", "étoile", "line 3: not UTF-8; save it as UTF-8"),
        ("shift_jis", "星", "line 3: not UTF-8; save it as UTF-8"),
        ("utf-16-le", "a", "line 1: a zero byte, which no text has; save it as UTF-8"),
    ],
)
def test_an_encoding_that_would_have_to_be_guessed_is_refused(
    tmp_path: Path, encoding: str, text: str, problem: str
) -> None:
    path = write(tmp_path, "a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n", encoding)
    with pytest.raises(TranscriptError, match=f"a.srt, {problem}"):
        read_subtitles(path)


def srt(*cues: tuple[float, float, str]) -> str:
    """An SRT file of cues: start and end in seconds below a minute, and the text."""
    times = [f"00:00:{start:06.3f} --> 00:00:{end:06.3f}".replace(".", ",") for start, end, _ in cues]
    return "\n".join(f"{i}\n{time}\n{text}\n" for i, (time, (*_, text)) in enumerate(zip(times, cues, strict=True), 1))


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_what_is_said_again_in_every_cue_stays(tmp_path: Path, suffix: str) -> None:
    text = srt(*((second, second + 1, "row row row") for second in range(6)))
    text = f"WEBVTT\n\n{text.replace(',', '.')}" if suffix == "vtt" else text
    assert len(heard(write(tmp_path, f"a.{suffix}", text))) == 18


def test_short_cues_that_say_the_same_are_no_rolling_captions(tmp_path: Path) -> None:
    """As karaoke and word-by-word captions have them."""
    path = write(tmp_path, "a.srt", srt(*((i / 10, i / 10 + 0.1, "la") for i in range(6))))
    assert len(heard(path)) == 6


def test_rolling_captions_with_what_is_said_twice(tmp_path: Path) -> None:
    """As yt-dlp converts them: each movement of the lines ends in a cue of ten milliseconds that shows the old ones."""
    text = srt(
        (0, 2, "and then"),
        (2, 2.01, "and then"),
        (2.01, 4, "and then\nyes"),
        (4, 4.01, "yes"),
        (4.01, 6, "yes\nyes"),
        (6, 6.01, "yes"),
        (6.01, 8, "yes\nof course"),
    )
    said = [("and", 0), ("then", 1), ("yes", 2.01), ("yes", 4.01), ("of", 6.01), ("course", 7.005)]
    assert heard(write(tmp_path, "a.srt", text)) == said


def test_times_that_begin_anew_end_the_transcript_and_are_named(tmp_path: Path) -> None:
    """Two parts of a film in one file: how much is to be added to the second, nobody knows."""
    cues = [(1, 2, "one"), (5, 6, "two"), (4.5, 6, "an interruption"), (0, 1, "three"), (9, 10, "four")]
    transcript = read_subtitles(write(tmp_path, "a.srt", srt(*cues)))
    assert [word.text for word in transcript.words] == ["one", "an", "two", "interruption"]
    assert transcript.flaws == ("line 14: times begin anew, so 2 cues from here on are left out",)


def test_line_ends_doubled_by_a_text_mode(tmp_path: Path) -> None:
    path = write(tmp_path, "a.srt", srt((1, 2, "one"), (2, 3, "two")).replace("\n", "\r\r\n"))
    assert heard(path) == [("one", 1), ("two", 2)]
    assert read_subtitles(path).flaws == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a&nbsp;b", ["a", "b"]),
        ("a\\Nb\\hc", ["a", "b", "c"]),
        ("{\\an8}<i>a</i> <font color=#fff>b</font>{\\i0}", ["a", "b"]),
        ("Tom &amp; Jerry &#39;n&#x27; &lrm;co", ["Tom", "Jerry", "'n'", "\u200eco"]),
        ("3 < 4 and 5 > 2, I <3 it", ["3", "4", "and", "5", "2,", "I", "<3", "it"]),
    ],
)
def test_markup_is_not_said(tmp_path: Path, text: str, said: list[str]) -> None:
    assert [word for word, _ in heard(write(tmp_path, "a.srt", srt((1, 2, text))))] == said


def test_the_memory_that_a_file_takes_is_in_proportion_to_its_cues(tmp_path: Path) -> None:
    """A cue of 30 bytes and one word takes less than a kilobyte while it is read."""
    clocks = [f"{i // 60:02d}:{i % 60:02d}" for i in range(3600)]
    path = write(tmp_path, "a.vtt", "WEBVTT\n\n" + "".join(f"{at}.000 --> {at}.900\nword\n\n" for at in clocks))
    read_subtitles(path)  # what is imported on first use is not counted
    tracemalloc.start()
    read_subtitles(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3600 * 1000


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


@given(
    data=st.binary(max_size=300), head=st.sampled_from([b"", b"WEBVTT\n\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"])
)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for suffix in SUFFIXES:
        (folder / f"a{suffix}").write_bytes(head + data)
        with contextlib.suppress(TranscriptError):
            read_transcript(folder / f"a{suffix}")
