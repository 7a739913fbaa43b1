"""The page of a folder of results, read as a browser would: structure, numbers, escaping, and what was left out."""

import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.grids import RETRIEVAL, cell, grid
from tests.support.pages import page_of, read
from tests.support.report_folders import (
    HOSTILE,
    grid_folder,
    rankings,
    results_folder,
    retrieved,
    videos,
    write_table_of,
)
from tests.support.results import retrieval
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import build, render
from tvts_bench.results.files import write_files
from tvts_bench.tables import table3
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.grids import read_grid_cells
from tvts_bench.tables.model import as_document
from tvts_bench.tables.render import write_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("made") / "results")


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return page_of(folder)


def test_every_number_opens_what_made_it(page: str) -> None:
    found = read(page)
    links = [each for each in found.all("a") if "data-runs" in each]
    ids = {each["id"] for _, each in found.elements if "id" in each}
    assert links
    for link in links:
        keys = link["data-runs"].split()
        assert link["href"] == f"#run-{keys[0]}"
        assert {f"run-{key}" for key in keys} <= ids
    said = [f"{link['data-what']}: {link['data-said']}" for link in links]
    # Written by hand: of four queries three have their nearest hit; the probe answers three of four.
    assert any("R@1 on ScriptedMotion" in words and "75.00 % of 4 clips" in words for words in said)
    assert "tvts:a, top-1: 75.00 %, 95 % interval 74.0 to 76.0" in said
    for fact in ("checkpoint sha256", "fingerprint of all", "6 of 7 used, 1 failed", "decord 0.6.0", "2026-01-02"):
        assert fact in found.text


def test_published_numbers_stand_apart_from_measured_ones(page: str) -> None:
    found = read(page)
    groups = [each for each in found.all("th", scope="colgroup") if each["class"] != "label group"]
    assert [each["class"] for each in groups] == ["measured group", "published group"]
    assert "14.7" in found.text
    assert "Measured on the built-in synthetic set ScriptedMotion, not on SSV2" in found.text


def test_names_from_results_are_text_and_never_markup(page: str) -> None:
    found = read(page)
    assert len(found.all("script")) == 1
    assert HOSTILE in found.text
    assert f"tvts:{HOSTILE}" in found.text
    handlers = [name for _, each in found.elements for name in each if name.startswith("on")]
    assert not handlers


def test_the_page_loads_nothing_and_runs_only_its_own_script(page: str) -> None:
    found = read(page)
    for _, each in found.elements:
        for name in ("src", "href", "xlink:href"):
            assert each.get(name, "#").startswith(("#", "data:"))
    assert not re.findall(r"url\((?!data:)|@import", page)
    policy = found.all("meta", http_equiv="Content-Security-Policy")[0]["content"]
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_equal_results_make_equal_bytes_wherever_they_lie(folder: Path, page: str, tmp_path: Path) -> None:
    assert page_of(folder) == page
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert page_of(tmp_path / "elsewhere") == page


def test_charts_say_in_words_what_they_show(page: str) -> None:
    found = read(page)
    charts = found.all("svg", role="group")
    ids = {each["id"] for _, each in found.elements if "id" in each}
    assert len(charts) >= 5
    for chart in charts:
        assert {chart["aria-labelledby"], chart["aria-describedby"]} <= ids
    assert "from 3.5 at 1 to 1 at 5" in found.text  # the step whose loss is not a number is left out


def test_a_grid_shows_seeds_their_mean_failures_and_what_is_left(tmp_path: Path) -> None:
    shown = read(page_of(grid_folder(tmp_path)))
    said = [f"{each['data-what']}: {each['data-said']}" for each in shown.all("a") if "data-runs" in each]
    assert any("none, zero-shot R@1, ssv2: 75.00 %, mean of 2 seeds" in words for words in said)  # of 50 and 100
    assert len(shown.all("circle", class_="seed")) >= 2
    assert f"k_way, seed 0: pretrain failed: loss is NaN {HOSTILE}" in shown.text
    assert "pairwise, seed 0: not begun" in shown.text
    assert "none: from 4 at 1 to 1.333 at 3" in shown.text


def test_grids_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        grid_folder(tmp_path / folder)
    text = read(page_of(tmp_path)).text
    for folder in ("here", "there"):
        assert f"sort-modeling in {folder}" in text
        assert f"Pretraining of the grid sort-modeling in {folder}" in text


def test_a_cell_whose_record_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    out = grid_folder(tmp_path)
    record = out / "cells" / "n1" / "cell.json"
    record.write_text("{", encoding="utf-8")
    shown = read(page_of(out))
    assert f"left out: cannot read {record}" in shown.text
    assert "none, seed 1: its record cannot be read, see above" in shown.text
    said = [each["data-said"] for each in shown.all("a") if "data-runs" in each]
    assert any("50.00 %" in words for words in said)  # of seed 0


@pytest.mark.parametrize("change", [{"dtype": "bf16"}, {"version": "0.0.1"}])
def test_a_grids_means_are_of_results_that_were_measured_alike(tmp_path: Path, change: dict[str, Any]) -> None:
    right, wrong = [[True]], [[False]]
    rows = {"none": (right, right, wrong), "k_way": (right, right, right)}
    made = {
        name: {
            str(seed): cell(
                tmp_path,
                f"{name}{seed}",
                seed,
                {RETRIEVAL: retrieval(hits, backbone=f"{name}{seed}", **(change if hits is wrong else {}))},
            )
            for seed, hits in enumerate(seeds)
        }
        for name, seeds in rows.items()
    }
    grid(tmp_path, made)
    shown = read(page_of(tmp_path))
    said = [f"{each['data-what']}: {each['data-said']}" for each in shown.all("a") if "data-runs" in each]
    assert any("none, zero-shot R@1, ssv2: 100.00 %, mean of 2 seeds" in words for words in said)
    assert "left out none, seed 2, of zero-shot R@1, ssv2: measured by another version" in shown.text


def test_results_of_another_schema_and_damaged_tables_are_named_not_mixed(folder: Path, tmp_path: Path) -> None:
    out = shutil.copytree(folder, tmp_path / "out")
    first = min(path for path in out.glob("*.json"))
    document = json.loads(first.read_text())
    (out / "older.json").write_text(json.dumps({**document, "schema": 99}), encoding="utf-8")
    (out / "broken.json").write_text("{", encoding="utf-8")
    (out / "mine.json").write_text("[1]", encoding="utf-8")
    (out / "tables" / "bad.json").write_text('{"schema": 1, "table": "bad", "cells": 3}', encoding="utf-8")
    shutil.copy(first, first.with_suffix(".1.json"))
    os.mkfifo(out / "pipe.json")  # reading it would never end
    (out / "grids").mkdir()
    (out / "grids" / "long.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "rows": [{"name": "a", "title": "a", "settings": {}, "cells": {"1" * 5000: "k"}, "stages": []}],
            }
        ),
        encoding="utf-8",
    )
    built = build(read_contents(out), queries=0)
    assert len(built.left_out) == 6
    for name, why in (
        ("older.json", "schema 99"),
        ("broken.json", "cannot be read"),
        (".1.json", "set aside"),
        ("bad", "make it again"),
        ("pipe.json", "it is not a file"),
        ("long.json", "no record of a grid"),
    ):
        assert any(name in sentence and why in sentence for sentence in built.left_out)
    assert all(sentence in read(render(built)).text for sentence in map(_squeezed, built.left_out))


def _squeezed(sentence: str) -> str:
    return " ".join(sentence.split())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file, not a folder"),
        (lambda path: path.mkdir(), "holds no results of tvts-bench"),
    ],
)
def test_what_is_no_folder_of_results_is_one_sentence(tmp_path: Path, make: object, says: str) -> None:
    assert callable(make)
    make(tmp_path / "it")
    with pytest.raises(UserError, match=says) as caught:
        read_contents(tmp_path / "it")
    assert "\n" not in str(caught.value)


def test_a_table_whose_results_are_elsewhere_still_says_what_it_knows_of_them(tmp_path: Path) -> None:
    write_table_of(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    shown = read(page_of(tmp_path))
    assert any("data-runs" in each for each in shown.all("a"))
    assert "not in this folder" in shown.text
    assert "c.safetensors" in shown.text


def test_backbones_of_one_name_are_told_apart(tmp_path: Path) -> None:
    dataset = videos(tmp_path / "videos", each=2)
    for dtype in ("fp32", "bf16"):
        write_files(retrieved(dataset, "a", rankings(dataset, 0), dtype=dtype), tmp_path / "out")
    text = read(page_of(tmp_path / "out", queries=0)).text
    assert 'tvts:a (dtype "bf16")' in text
    assert "measured with different settings: dtype" in text


def test_results_of_two_versions_never_share_a_picture(tmp_path: Path) -> None:
    for version in ("0.0.1", "0.0.2"):
        write_files(retrieval([[True]], backbone=f"v{version}", version=version), tmp_path)
    found = read(page_of(tmp_path))
    assert len(found.all("article", class_="card")) == 2
    assert len(found.all("svg", role="group")) == 2 * 2  # R@1 and R@5 of each


def test_a_table_of_a_grid_is_drawn_with_its_seeds_where_the_grid_is_elsewhere(tmp_path: Path) -> None:
    out = grid_folder(tmp_path / "grid")
    cells = read_grid_cells(table3.TABLE, out)
    assert cells is not None
    findings = TableResults(cells=cells.results, embedded=True)
    write_table(as_document(assemble(table3.TABLE, findings, tmp_path / "results")), tmp_path / "results")
    shown = read(page_of(tmp_path / "results"))
    assert len(shown.all("circle", class_="seed")) == 2
    assert shown.text.count("checkpoint sha256") == 2  # what made each is still there to be read
    assert "not in this folder" not in shown.text
    shutil.copytree(tmp_path / "results" / "tables", out / "tables")
    assert "Table 3" not in read(page_of(out)).text.partition("Ablations")[2].partition("Training")[0]


def test_names_that_are_no_utf_8_are_written_with_escapes(tmp_path: Path) -> None:
    dataset = videos(tmp_path / "videos", each=2)
    odd = tmp_path / "videos" / "blue" / os.fsdecode(b"\xff.mp4")
    (tmp_path / "videos" / "blue" / "0.mp4").rename(odd)
    dataset = load_dataset("folder", tmp_path / "videos")
    write_files(retrieved(dataset, "a", rankings(dataset, 0)), tmp_path / "out")
    page = page_of(tmp_path / "out")
    assert "blue/\\udcff.mp4" in read(page).text
    assert "no picture" not in read(page).text
