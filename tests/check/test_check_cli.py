"""`tvts-bench check` and `tvts-bench datasets` as a user runs them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tvts_bench.cli.main import app


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder data set with an empty file and one of text."""
    root = tmp_path / "data"
    for name, content in {"run/a.mp4": "", "walk/b.mp4": "hello"}.items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(content)
    return root


def test_check_lists_problems_and_ends_with_1(broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "problems.csv"
    options = ["check", "folder", "--root", broken, "--out", out, "--workers", 0, "--cache", tmp_path / "cache"]
    result = CliRunner().invoke(app, [str(option) for option in options])
    assert result.exit_code == 1
    assert "2 problems in" in result.stdout
    with out.open(newline="") as file:
        assert [(row["id"], row["problem"]) for row in csv.DictReader(file)] == [
            ("run/a.mp4", "empty"),
            ("walk/b.mp4", "undecodable"),
        ]


def test_check_without_what_it_needs_ends_with_2(broken: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["check", "folders", "--root", str(broken)], "did you mean folder?"),
        (["check", "folder"], "folder needs --root DIR"),
        (["check", "folder", "--root", str(tmp_path / "gone")], "does not exist"),
        (["check", "folder", "--root", str(broken), "--out", str(tmp_path)], "is a folder"),
        (["check", "folder", "--root", str(broken), "--timeout", "0"], "must be positive"),
        (["check", "folder", "--root", str(broken), "--split", "val"], "no split 'val'"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr


def test_datasets_lists_every_one_and_where_to_get_it() -> None:
    result = CliRunner().invoke(app, ["datasets"])
    assert result.exit_code == 0
    for expected in ("ssv2", "168,913", "24,777 or 24,776", "cvdfoundation", "9,537", "3,570", "folder", "list"):
        assert expected in result.stdout


def test_datasets_as_json() -> None:
    infos = json.loads(CliRunner().invoke(app, ["datasets", "--json"]).stdout)
    assert infos["hmdb51"]["official_sizes"] == {"train": [3570], "test": [1530]}
    assert infos["k400"]["default_split"] == "val"


def test_datasets_says_how_much_is_there(broken: Path) -> None:
    arguments = ["datasets", "--dataset", "folder", "--root", str(broken)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    rows = json.loads(result.stdout)
    assert (rows["all"]["listed"], rows["all"]["present"], rows["all"]["complete"]) == (2, 2, True)
    assert "complete" in CliRunner().invoke(app, arguments).stdout
