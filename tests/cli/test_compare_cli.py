"""`tvts-bench compare`: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.results import retrieval
from tvts_bench.cli.main import app
from tvts_bench.results.files import write_files

HITS = {"a": [True] * 9 + [False], "b": [False] * 9 + [True], "c": [True] * 8 + [False] * 2}


def call(*arguments: str, width: int = 100) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": str(width)})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models on ten clips, written as commands write them."""
    monkeypatch.chdir(tmp_path)
    for name, row in HITS.items():
        write_files(retrieval([[hit] for hit in row], backbone=name), tmp_path / "results")
    return tmp_path / "results"


def test_it_prints_a_verdict_for_each_and_the_clips_that_tell_two_apart(results: Path) -> None:
    done = call("results")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert (
        "R@1: tvts:a is ahead of tvts:b by 80.0 [+40.0, +100.0] taken alone, but not corrected for the number of"
        in (done.stdout)
    )
    assert "R@1: no difference seen between tvts:a and tvts:c: +10.0 [+0.0, +30.0]" in lines
    assert "9 clips that tvts:a gets right and tvts:b does not (R@1): q0, q1, q2, q3, q4, and 4 more" in lines
    assert "1 clip that tvts:b gets right and tvts:a does not (R@1): q9" in lines
    assert "p two-sided by McNemar, exact; Holm: corrected for the 3 comparisons here" in done.stdout


def test_with_a_baseline_each_is_compared_with_it_alone(results: Path) -> None:
    done = call("results", "--baseline", "b", "--clips", "0")
    assert "R@1: tvts:a is ahead of tvts:b by 80.0 [+40.0, +100.0]" in done.stdout.splitlines()
    assert "gets right" not in done.stdout
    assert "tvts:a and tvts:c" not in done.stdout


def test_the_files_hold_everything(results: Path) -> None:
    assert call("results", "--out", "out").exit_code == 0
    out = results.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.clips.csv",
        "comparison.csv",
        "comparison.json",
        "comparison.md",
    ]
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    assert [(row["first"], row["second"]) for row in rows] == [
        ("tvts:a", "tvts:b"),
        ("tvts:a", "tvts:c"),
        ("tvts:b", "tvts:c"),
    ]
    assert float(rows[0]["p"]) == pytest.approx(2 * 11 / 2**10)
    assert float(rows[0]["p_holm"]) == pytest.approx(3 * 2 * 11 / 2**10)
    clips = list(csv.DictReader((out / "comparison.clips.csv").open()))
    ours = [row["clip"] for row in clips if (row["right"], row["wrong"]) == ("tvts:a", "tvts:b")]
    assert ours == [f"q{number}" for number in range(9)]
    document = json.loads((out / "comparison.json").read_text())
    assert document["comparisons"][0]["verdicts"][0]["only_first"] == ours
    assert document == json.loads(call("results", "--json").stdout)
    for path in out.iterdir():
        assert str(results.parent) not in path.read_text(), "paths of a machine stay out"


def test_random_weights_are_marked_everywhere(results: Path) -> None:
    random = retrieval([[hit] for hit in HITS["b"]], backbone="r")
    backbone = {**random.run.backbone, "weights": "random init (seed 0)"}
    object.__setattr__(random.run, "backbone", backbone)
    write_files(random, results)
    done = call("results", "--baseline", "r RANDOM", "--out", "out")
    assert "tvts:a is ahead of tvts:r RANDOM" in done.stdout
    for name in ("comparison.csv", "comparison.md", "comparison.json"):
        assert "tvts:r RANDOM" in (results.parent / "out" / name).read_text()


def test_files_that_are_no_results_are_named_and_do_not_hide_what_came_out(results: Path) -> None:
    for number in range(9):
        (results / f"{number}.json").write_text("{}")
    done = call("results", "--clips", "0")
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    assert lines[0] == "passed over results/0.json: it is not a result"
    assert lines[-1] == "... and 4 more files"


@pytest.mark.parametrize("width", [40, 80])
def test_no_number_is_cut_in_a_narrow_terminal(results: Path, width: int) -> None:
    done = call("results", "--clips", "0", width=width)
    for number in ("80.0", "[+40.0, +100.0]", "0.021", "0.064"):
        assert number in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere does not exist: give a result file, or a folder of results"),
        (["empty"], "no results of tvts-bench in empty; give the --out of a command that measures"),
        (["results", "--baseline", "d"], "no model is called d: there are tvts:a; tvts:b; tvts:c"),
        (["results", "--metric", "R@7"], "has no R@7: there are R@1, R@5"),
        (["results", "--out", "file"], "cannot write to file"),
        (["broken"], "cannot read the result file broken/x.json"),
    ],
)
def test_what_it_refuses_is_one_sentence(results: Path, arguments: list[str], says: str) -> None:
    (results.parent / "empty").mkdir()
    (results.parent / "file").write_text("x")
    (results.parent / "broken").mkdir()
    (results.parent / "broken" / "x.json").write_text("{")
    done = call(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_names_that_would_steer_a_terminal_or_a_spreadsheet_are_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil, formula = "[bold]\x1b[31m\u202e\nerror: all is lost", "=cmd|' -C calc'!A0"
    for name, hits in ((formula, (True, False)), (evil, (False, True))):
        result = retrieval([[hit] for hit in hits], backbone=name)
        result.tables["neighbors"]["query"][:] = [evil, formula]
        write_files(result, tmp_path / "results")
    done = call("results", "--clips", "9", "--out", "out")
    assert done.exit_code == 0, done.output
    files = [path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix != ".json"]
    shown = [done.stdout, done.stderr, *files]
    for text in shown:
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not any(line.startswith("error: all is lost") for line in text.splitlines())
    clips = list(csv.DictReader((tmp_path / "out" / "comparison.clips.csv").open()))
    assert {row["clip"][:2] for row in clips} == {"'=", "[b"}
