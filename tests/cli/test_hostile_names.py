"""Names that would steer a terminal, fake a line, bring markup or run in a spreadsheet, through the whole program."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from tests.support.grids import grid, stage
from tests.support.plain_videos import write_plain_video
from tvts_bench.cli import console as consoles
from tvts_bench.cli.console import TextConsole
from tvts_bench.cli.main import app
from tvts_bench.printable import printable
from tvts_bench.results.grids import CellRecord, write_cell

EVIL = "[bold]a [link=x] \x1b[31m\x1b]8;;e\x07b\u202e\u200b\x9b2J\x08\nerror: all is lost ["  # before "/]", too
FORMULA = "=cmd|' -C calc'!A0"
FOLDER = ("--backbone", "pixels", "--dataset", "folder", "--workers", "0", "--dtype", "fp32")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with such names, two videos each, one of which cannot be read."""
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_plain_video(tmp_path / "videos" / EVIL / f"]{number}{EVIL}.mp4", (200, 20 * number, 20))
        write_plain_video(tmp_path / "videos" / FORMULA / f"-{number}.mp4", (20, 20 * number, 200))
    (tmp_path / "videos" / EVIL / f"]broken{EVIL}.mp4").write_text("no video")
    return tmp_path / "videos"


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    for shown in (result.stdout, result.stderr):
        assert_harmless(shown)
    return result


def assert_harmless(text: str) -> None:
    """No character that does not show itself, and no line that is not ours."""
    lines = text.splitlines()
    assert printable(text, keep_lines=True) == text
    assert len([line for line in lines if line.startswith("error: ")]) <= 1
    assert not any(line.startswith("error: all is lost") for line in lines)


def test_retrieval_shows_them_escaped_and_keeps_them_in_json_and_parquet(root: Path, tmp_path: Path) -> None:
    result = run("retrieval", *FOLDER, "--root", root, "--out", "out")
    name = f"{printable(EVIL)}/]broken{printable(EVIL)}.mp4"
    assert name in result.stderr
    (document,) = (tmp_path / "out").glob("*.json")
    assert list(json.loads(document.read_text())["coverage"][0]["failed"]) == [f"{EVIL}/]broken{EVIL}.mp4"]
    ids = set(pd.read_parquet(document.with_suffix(".neighbors.parquet"))["query"])
    assert {f"{EVIL}/]0{EVIL}.mp4", f"{FORMULA}/-0.mp4"} <= ids
    for suffix in (".csv", ".md"):
        assert_harmless(document.with_suffix(suffix).read_text())


def test_standard_output_as_json_is_ascii_and_says_the_same(root: Path) -> None:
    document = json.loads(run("retrieval", *FOLDER, "--root", root, "--out", "out", "--json").stdout)
    assert list(document["coverage"][0]["failed"]) == [f"{EVIL}/]broken{EVIL}.mp4"]


def test_a_probe_writes_its_classes_so_that_spreadsheets_and_pictures_take_them_for_text(
    root: Path, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        shutil.copytree(root, tmp_path / "splits" / split)
    run("probe", *FOLDER, "--root", tmp_path / "splits", "--head", "knn", "--allow-shared-clips", "--out", "out")
    (path,) = (tmp_path / "out").glob("*.per_class.csv")
    with path.open(newline="") as file:
        names = {row["class"] for row in csv.DictReader(file)}
    assert names == {printable(EVIL), f"'{FORMULA}"}
    for path in (tmp_path / "out").glob("*.csv"):
        assert_harmless(path.read_text())
    assert list((tmp_path / "out").glob("*.png"))


def test_check_names_a_problem_a_line(root: Path, tmp_path: Path) -> None:
    run("check", "folder", "--root", root, "--out", "problems.csv", "--workers", "0", code=1)
    text = (tmp_path / "problems.csv").read_text()
    assert_harmless(text)
    assert f"{printable(EVIL)}/]broken{printable(EVIL)}.mp4" in text


def test_embed_and_search_name_files(root: Path, tmp_path: Path) -> None:
    os.chdir(root / FORMULA)
    weights = ("--backbone", "pixels", "--workers", "0", "--dtype", "fp32")
    Path("-b.mp4").write_bytes(Path("-1.mp4").read_bytes())
    run("embed", *weights, "--out", "../../out.csv", "--", "-0.mp4", "-b.mp4")
    with (tmp_path / "out.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert [row[0] for row in rows] == ["'-0.mp4", "'-b.mp4"]
    assert all(float(value) is not None for row in rows for value in row[1:])
    assert header[:2] == ["id", "f0"]
    found = run("search", root / EVIL / f"]0{EVIL}.mp4", root, *weights, "--k", "2")
    assert "not searched: " in found.stderr
    assert f"Most similar to ]0{printable(EVIL)}.mp4"[:60] in " ".join(found.stdout.split())


def test_inspect_shows_tensors_and_what_lies_beside_them(tmp_path: Path) -> None:
    save_file({f"{EVIL}.weight": torch.zeros(2, 2)}, tmp_path / "x.safetensors", metadata={EVIL: EVIL})
    shown = run("inspect", tmp_path / "x.safetensors", code=1)
    assert printable(EVIL)[:20] in shown.stdout
    torch.save({EVIL: torch.zeros(2), "epoch": EVIL}, tmp_path / "x.pth")
    run("inspect", tmp_path / "x.pth", code=1)


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    (tmp_path / f"list{EVIL}.txt").write_text(f"{EVIL}\n")
    result = run("datasets", "--dataset", "list", "--root", tmp_path / f"gone{EVIL}", code=2)
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert printable(f"gone{EVIL}") in result.stderr


def test_what_is_logged_quotes_them_escaped() -> None:
    run("datasets")  # sets up the log
    handler = logging.getLogger().handlers[0]
    assert handler.formatter is not None
    record = logging.LogRecord("a", logging.WARNING, "", 0, "replaced: %s", (EVIL,), None)
    assert handler.formatter.format(record) == f"WARNING a: replaced: {printable(EVIL)}"


def test_a_grids_cells_stand_in_a_line_each_whatever_their_commands_said(tmp_path: Path) -> None:
    failed = stage("pretrain", status="failed", reason=EVIL)
    write_cell(tmp_path, CellRecord(key="k0", config={}, seed=0, stages=(failed,)))
    grid(tmp_path, {EVIL: {"0": "k0"}}, title=EVIL)
    shown = run("status", tmp_path)
    assert f"failed (pretrain): {printable(EVIL)}"[:60] in " ".join(shown.stdout.split())


def test_a_progress_bar_describes_them_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = TextConsole(stderr=True)
    with (tmp_path / "out").open("w+") as file:
        console.file = file
        monkeypatch.setattr(consoles, "stderr", console)
        with consoles.progress_bar(2, "files", f"checking {EVIL}") as advance:
            advance(2)
        file.seek(0)
        text = file.read()
    assert r"\x1b[31m\x1b]8;;e\x07b\u202e" in text
    assert not {"\x07", "\u202e", "\x9b", "\x08"} & set(text)


def test_the_traceback_of_a_bug_quotes_them_escaped() -> None:
    code = (
        "import sys; from tvts_bench.cli.main import guarded\n"
        "def command(): raise RuntimeError(sys.argv[1])\n"
        "guarded(command)()"
    )
    done = subprocess.run([sys.executable, "-c", code, "\x1b[31m\u202e"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == r"RuntimeError: \x1b[31m\u202e"
