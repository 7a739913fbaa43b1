"""The parsers of annotation files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvts_bench.datasets import lines
from tvts_bench.datasets.base import AnnotationError, DatasetError

# Names as people have them: any script, spaces, commas, brackets; not at the ends, where lines are stripped.
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda t: t.strip(' ,\t"') == t == t.strip()
)
extensions = st.sampled_from(sorted(lines.VIDEO_EXTENSIONS))
separators = st.sampled_from([" ", ",", "\t", ", ", "   "])


@settings(deadline=None)
@given(name=names, extension=extensions, label=st.integers(0, 999), separator=separators)
def test_any_video_name_and_number_come_back(name: str, extension: str, label: int, separator: str) -> None:
    path = name + extension
    assert lines.split_path_and_label(f"{path}{separator}{label}") == (path, str(label))


@settings(deadline=None)
@given(name=names, extension=extensions, label=st.from_regex(r"[a-z]+( [a-z]+)*", fullmatch=True), separator=separators)
def test_class_names_may_hold_spaces(name: str, extension: str, label: str, separator: str) -> None:
    path = name + extension
    assert lines.split_path_and_label(f"{path}{separator}{label}") == (path, label)


@settings(deadline=None)
@given(text=st.text())
def test_split_never_fails_and_loses_nothing_but_the_separator(text: str) -> None:
    parts = lines.split_path_and_label(text)
    if parts is not None:
        path, label = parts
        assert path
        assert label
        assert text.strip().startswith(path)
        assert text.strip().endswith(label)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("168347.webm 18", ("168347.webm", "18")),
        ("playing a guitar/x y.mp4 7", ("playing a guitar/x y.mp4", "7")),
        ("a,b.mp4,3", ("a,b.mp4", "3")),
        ("a.mp4,riding a bike", ("a.mp4", "riding a bike")),
        ("a.mp4,class 1", ("a.mp4", "class 1")),
        ("a.mp4 0 -1", ("a.mp4", "0 -1")),  # VideoMAE's pretraining list: not a class, and so refused later
        ("frames/clip one 12", ("frames/clip one", "12")),
        ("no_extension label", ("no_extension", "label")),
        ("alone.mp4", None),
        ("", None),
    ],
)
def test_split_by_hand(text: str, expected: tuple[str, str] | None) -> None:
    assert lines.split_path_and_label(text) == expected


@settings(deadline=None)
@given(rows=st.lists(names, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_keep_their_text_and_number(rows: list[str], end: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.txt"
    path.write_bytes(end.join(["", *rows, ""]).encode("utf-8-sig"))
    assert list(lines.read_lines(path)) == list(enumerate(rows, start=2))


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("ok.mp4 1\ncafé.mp4 2\n".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"latin1.txt, line 2: byte 0xe9 is not UTF-8"):
        list(lines.read_lines(path))


def test_json_errors_have_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[\n{"id": 1},\n{"id": }\n]')
    with pytest.raises(AnnotationError, match=r"x.json, line 3: column 8: not JSON"):
        lines.read_json(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"id": ' + "1" * 5000 + "}]"], ids=["brackets", "digits"])
def test_json_made_to_exhaust_the_parser_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"x.json holds JSON that no list of videos has"):
        lines.read_json(path)


def test_a_binary_file_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a.mp4 0\na\0.mp4 1\n")
    with pytest.raises(AnnotationError, match=r"x.csv, line 2: a zero byte"):
        list(lines.read_lines(path))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_line_of_a_json_entry(index: int, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[ {"a": [1,\n2]},\n {"b": "], ["}\n,\n{}]')
    assert lines.json_entry_line(path, index) == (1, 3, 5)[index]


def test_table_rows_must_fit_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1, one",2\n\n3\n')
    with pytest.raises(AnnotationError, match="line 4: 1 fields, the header has 2"):
        list(lines.read_table(path, ("a",)))
    with pytest.raises(AnnotationError, match="line 1: the header lacks c; it has: a, b"):
        list(lines.read_table(path, ("c",)))


def test_lists_that_cannot_be_opened_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        lines.read_text(tmp_path)


def test_names_must_be_unique(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("a\nb\na\n")
    with pytest.raises(AnnotationError, match="line 3: class 'a' is listed twice"):
        lines.read_names(path)
