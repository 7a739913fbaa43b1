"""One odd file in a folder of results is named on the page, and the page stands with all the others on it."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.odd_json import ODD, altered, places
from tests.support.pages import read
from tests.support.report_folders import grid_folder, rankings, results_folder, retrieved, videos, write_table_of
from tests.support.results import retrieval
from tvts_bench.printable import printable
from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import ReportPage, build, render
from tvts_bench.results.files import write_files

GOOD = "tvts:good"


def shown(folder: Path, queries: int = 0) -> tuple[ReportPage, str]:
    """The report of a folder and the words on its page, which hold all that was left out."""
    report = build(read_contents(folder), queries=queries)
    text = read(render(report)).text
    for sentence in report.left_out:
        assert " ".join(printable(sentence).split()) in text
    return report, text


def loads_nothing(path: Path) -> None:
    path.symlink_to(path)


ODD_FILES: Mapping[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "loop": loads_nothing,
    "empty": lambda path: path.touch(),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "cut": lambda path: path.write_text('{"schema": 1, "run": {'),
    "brackets": lambda path: path.write_text("[" * 100_000),
    "digits": lambda path: path.write_text('{"run": 1, "metrics": ' + "9" * 5000 + "}"),
    "parts": lambda path: path.write_text('{"run": {}, "metrics": []}'),
}


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("place", ["", "tables", "grids"])
def test_a_file_that_is_no_json_of_ours_is_named(tmp_path: Path, kind: str, place: str) -> None:
    write_files(retrieval([[True]], backbone="good"), tmp_path)
    (tmp_path / place).mkdir(exist_ok=True)
    ODD_FILES[kind](tmp_path / place / "odd.json")
    report, text = shown(tmp_path)
    assert GOOD in text
    assert [sentence for sentence in report.left_out if "odd.json" in sentence] == list(report.left_out)
    assert len(report.left_out) == 1


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}"])
def test_what_is_named_like_a_result_and_is_none_is_named(tmp_path: Path, content: str) -> None:
    good = write_files(retrieval([[True]], backbone="good"), tmp_path).json
    other = good.with_name(good.name.replace("good", "other"))
    other.write_text(content)
    report, text = shown(tmp_path)
    assert GOOD in text
    (sentence,) = report.left_out
    assert other.name in sentence
    assert "not a result file of tvts-bench" in sentence


@pytest.mark.parametrize("name", ODD)
def test_one_odd_value_anywhere_in_a_table_leaves_the_page(tmp_path: Path, name: str) -> None:
    write_table_of(tmp_path)
    write_files(retrieval([[True]], backbone="good"), tmp_path)
    (path,) = (tmp_path / "tables").glob("*.json")
    document = json.loads(path.read_text())
    document["cells"] = [cell for cell in document["cells"] if cell["measured"]][:1]
    column, row = (document["cells"][0][each] for each in ("column", "row"))
    document["columns"] = [each for each in document["columns"] if each["name"] == column]
    document["rows"] = [each for each in document["rows"] if each["name"] == row]
    for grid in (None, "sort-modeling"):
        document["grid"] = grid
        path.write_text(json.dumps(document))
        assert not shown(tmp_path)[0].left_out
        for place in places(document):
            path.write_text(json.dumps(altered(document, place, ODD[name])))
            report, text = shown(tmp_path)
            assert GOOD in text
            assert len(report.tables) + len(report.left_out) == 1, place


def test_a_number_that_is_none_is_no_cell_of_a_table(tmp_path: Path) -> None:
    write_table_of(tmp_path)
    (path,) = (tmp_path / "tables").glob("*.json")
    document = json.loads(path.read_text())
    next(cell for cell in document["cells"] if cell["measured"])["measured"]["value"] = math.nan
    path.write_text(json.dumps(document))
    report, _ = shown(tmp_path)
    assert "must be a finite number, got nan" in report.left_out[0]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("file", ["grids/sort-modeling.json", "cells/n0/cell.json"])
def test_one_odd_value_anywhere_in_a_grid_leaves_the_page(tmp_path: Path, file: str, name: str) -> None:
    grid_folder(tmp_path)
    write_files(retrieval([[True]], backbone="good"), tmp_path)
    document = json.loads((tmp_path / file).read_text())
    for place in places(document):
        (tmp_path / file).write_text(json.dumps(altered(document, place, ODD[name])))
        report, text = shown(tmp_path)
        assert GOOD in text
        assert report.grids or report.left_out


def table(**changes: Sequence[Any]) -> pa.Table:
    columns: dict[str, Sequence[Any]] = {
        **{"seed": [0, 0], "query": ["blue/0.mp4"] * 2, "query_label": [1, 1], "rank": [1, 2]},
        **{"neighbor": ["blue/1.mp4", "blue/2.mp4"], "neighbor_label": [1, 1], "similarity": [0.9, 0.8]},
        "hit": [True, False],
    }
    return pa.table({name: pa.array(values) for name, values in {**columns, **changes}.items()})


@pytest.mark.parametrize(
    "changes",
    [
        *({name: [None, None]} for name in table().column_names),
        *({name: ["a", "b"]} for name in ("seed", "query_label", "rank", "neighbor_label", "similarity", "hit")),
        *({name: [[1], [2]]} for name in ("query", "rank", "neighbor", "similarity")),
        {"query": ["a", None]},
        {"query": [b"\xff\xfe", b"\xff\xfd"]},
        {"similarity": [math.nan, 0.5]},
        {"rank": [0, 1]},
        {"rank": [7, 8]},
        {"query_label": [1e300, 1.0]},
    ],
    ids=str,
)
def test_neighbours_of_another_type_are_named(tmp_path: Path, changes: dict[str, Sequence[Any]]) -> None:
    path = neighbours_of_one_result(tmp_path)
    parquet.write_table(table(), path)
    assert "not shown" not in shown(tmp_path / "out", queries=4)[1].lower()
    parquet.write_table(table(**changes), path)
    report, text = shown(tmp_path / "out", queries=4)
    assert "Not shown: the neighbours of tvts:a" in text
    assert report.groups


@pytest.mark.parametrize("kind", [*ODD_FILES, "cut in two"])
def test_neighbours_that_are_no_parquet_are_named(tmp_path: Path, kind: str) -> None:
    path = neighbours_of_one_result(tmp_path)
    whole = path.read_bytes()
    path.unlink()
    if kind in ODD_FILES:
        ODD_FILES[kind](path)
    else:
        path.write_bytes(whole[: len(whole) // 2])
    assert "Not shown: the neighbours of tvts:a" in shown(tmp_path / "out", queries=4)[1]


def neighbours_of_one_result(folder: Path) -> Path:
    dataset = videos(folder / "videos")
    written = write_files(retrieved(dataset, "a", rankings(dataset, 0)), folder / "out")
    return next(path for path in written.beside if path.name.endswith(".neighbors.parquet"))


CURVES = {
    "steps.csv": "step,loss\n1,3\n2,2\n",
    "epochs.csv": "epoch,step,measured_top_1\n0,1,40\n1,2,60\n",
    "metrics.jsonl": '{"step": 1, "base": 3}\n{"step": 2, "base": 2}\n',
}


@pytest.mark.parametrize("kind", [kind for kind in ODD_FILES if kind != "empty"])
@pytest.mark.parametrize("name", CURVES)
def test_curves_that_cannot_be_read_are_named_and_the_others_drawn(tmp_path: Path, name: str, kind: str) -> None:
    for other, text in CURVES.items():
        (tmp_path / other).write_text(text)
    (tmp_path / name).unlink()
    ODD_FILES[kind](tmp_path / name)
    report, _ = shown(tmp_path)
    assert len(report.curves[0].charts) == 2
    assert [name in sentence for sentence in report.left_out] == [True]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps.csv", "step,epoch,loss\n"),  # before the first step
        ("steps.csv", "step,loss\n1,3\n2,"),
        ("metrics.jsonl", ""),
        ("metrics.jsonl", '{"step": 1, "base": 3}\n{"step'),
        ("metrics.jsonl", '{"step": null, "base": [1]}\n{"step": {}, "base": "x", "validation": 3}\n'),
    ],
)
def test_a_training_that_has_just_begun_is_no_odd_file(tmp_path: Path, name: str, text: str) -> None:
    write_files(retrieval([[True]], backbone="good"), tmp_path)
    (tmp_path / name).write_text(text)
    assert not shown(tmp_path)[0].left_out


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e31", "inf", "nan", "[]", "1" * 5000, "x"])
def test_points_that_no_axis_holds_are_not_drawn(tmp_path: Path, value: str) -> None:
    (tmp_path / "steps.csv").write_text(f"step,loss\n1,3\n2,{value}\n{value},1\n3,1\n")
    report, text = shown(tmp_path)
    assert not report.left_out
    assert "from 3 at 1 to 1 at 3" in text


def test_where_a_result_says_its_videos_lie_need_be_no_path(tmp_path: Path) -> None:
    dataset = videos(tmp_path / "videos")
    written = write_files(retrieved(dataset, "a", rankings(dataset, 0)), tmp_path / "out")
    document = json.loads(written.json.read_text())
    for root in ("\0", "\ud800", "x" * 5000, "", 3, ["a"], "/dev/null"):
        document["provenance"]["root"] = root
        written.json.write_text(json.dumps(document))
        assert "No pictures: " in shown(tmp_path / "out", queries=2)[1]


def test_names_of_all_kinds_are_shown_and_steer_nothing(tmp_path: Path) -> None:
    evil = "</script><b onload='x'>\u202e\x1b[2J\n$&{{7*7}}"
    results_folder(tmp_path / "out")
    write_files(retrieval([[True]], backbone=evil), tmp_path / "out")
    page = render(build(read_contents(tmp_path / "out"), queries=2))
    assert not {"\u202e", "\x1b"} & set(page)
    assert printable(f"tvts:{evil}") in read(page).text
    assert len(read(page).all("script")) == 1
