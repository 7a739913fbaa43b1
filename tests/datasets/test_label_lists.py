"""Any list comes back as it was written, and any bytes are read or refused in one sentence."""

import contextlib
import csv
import io
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvts_bench.datasets import lines
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.label_lists import read_rows
from tvts_bench.datasets.loading import load_dataset

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12).map(str.strip)
NAMES = TEXT.filter(lambda text: text and text[0] not in '#"')
EXTENSIONS = st.sampled_from(sorted(lines.VIDEO_EXTENSIONS))
SPLITS = st.sampled_from(["train", "val", "test"])
ROWS = st.lists(st.tuples(st.builds(str.__add__, NAMES, EXTENSIONS), NAMES, SPLITS), min_size=1, max_size=6)


@settings(deadline=None)
@given(
    rows=ROWS, delimiter=st.sampled_from(",;\t"), order=st.permutations(range(3)), end=st.sampled_from(["\n", "\r\n"])
)
def test_any_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    order: list[int],
    end: str,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    for row in [("path", "label", "split"), *rows]:
        writer.writerow([row[at] for at in order])
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(text.getvalue().encode("utf-8-sig"))
    assert [(row.path, row.label, row.split) for row in read_rows(path)] == rows


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.builds(str.__add__, NAMES, EXTENSIONS), st.integers(0, 999)), min_size=1, max_size=6),
    separator=st.sampled_from([" ", "\t", ",", ", ", ";"]),
)
def test_any_list_without_a_header_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], separator: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "list.csv"
    path.write_text("\n".join(f"{name}{separator}{label}" for name, label in rows), encoding="utf-8")
    assert [(row.path, int(row.label)) for row in read_rows(path)] == rows


PIECES = st.sampled_from(
    [b"a.mp4", b" ", b",", b";", b"\t", b'"', b"\n", b"\r", b"#", b"label", b"path", b"3", b"val", b"\xff"]
)


@settings(deadline=None)
@given(data=st.binary(max_size=200) | st.lists(PIECES, max_size=30).map(b"".join))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    for read in (read_rows, lines.read_text, lines.read_json, lines.read_names):
        with contextlib.suppress(DatasetError):
            read(path)
    with contextlib.suppress(DatasetError):
        list(lines.read_table(path, ("path",)))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    for target, kind in {"pipe": "a named pipe", "/dev/zero": "a device"}.items():
        link = tmp_path / "link.csv"
        link.symlink_to(target)
        for read in (read_rows, lines.read_text):
            with pytest.raises(DatasetError, match=f"cannot read .*link.csv: it is not a file but {kind}"):
                read(link)
        with pytest.raises(DatasetError, match=r"link\.csv are neither a file nor a folder"):
            load_dataset("list", tmp_path, annotations=link)
        link.unlink()


def test_a_file_without_lines_takes_no_memory(tmp_path: Path) -> None:
    """A terabyte of nothing, or a video, named as a list."""
    path = tmp_path / "list.csv"
    path.touch()
    os.truncate(path, 1 << 40)
    tracemalloc.start()
    with pytest.raises(AnnotationError, match=r"list.csv, line 1: a line of more than 1,048,576 bytes; is it a list\?"):
        read_rows(path)
    with pytest.raises(DatasetError, match="it is larger than 1,024 MiB"):
        lines.read_text(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23


def test_a_table_is_read_line_by_line(tmp_path: Path) -> None:
    """The captions of ten million clips are gigabytes: what is not kept takes no memory."""
    path = tmp_path / "table.csv"
    path.write_text("name,path\n" + f"{'x' * 1000},a\n" * 20_000)
    tracemalloc.start()
    assert sum(row["path"] == "a" for _, row in lines.read_table(path, ("path",))) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
