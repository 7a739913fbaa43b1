"""`tvts-bench leaderboard`: what it prints, writes and refuses."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.results import retrieval
from tvts_bench.cli.main import app
from tvts_bench.results.files import write_files

RATES = {"a": 90, "b": 50, "c": 52}


def call(*arguments: str, width: int = 200) -> Result:
    return CliRunner().invoke(app, ["leaderboard", *arguments], env={"COLUMNS": str(width)})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models on two data sets, each in a folder of its own below one."""
    monkeypatch.chdir(tmp_path)
    for dataset in ("ssv2", "k400"):
        for name, right in RATES.items():
            hits = [[query < right] for query in range(100)]
            write_files(retrieval(hits, backbone=name, dataset=dataset), tmp_path / "results" / dataset)
    return tmp_path / "results"


def test_one_table_where_the_terminal_is_wide_enough(results: Path) -> None:
    done = call("results")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("mean rank") == 1
    for text in ("ssv2 val, zero-shot retrieval", "k400 val, zero-shot retrieval", "90.0a", "50.0b", "52.0b", "chance"):
        assert text in done.stdout
    assert "letters: models that share one in a column are not shown to differ" in done.stdout


def test_in_a_narrow_terminal_each_task_has_its_table_and_no_number_is_cut(results: Path) -> None:
    done = call("results", width=40)
    for text in ("k400 val, zero-shot retrieval", "90.0a", "[89.0, 91.0]", "mean rank", "1.0"):
        assert text in done.stdout


def test_files_are_written_on_request_alone(results: Path) -> None:
    assert call("results").exit_code == 0
    assert [path.name for path in results.parent.iterdir()] == ["results"]
    assert call("results", "--out", "out").exit_code == 0
    out = results.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        f"leaderboard.{form}" for form in ("csv", "html", "md", "tex")
    ]
    for path in out.iterdir():
        assert call("results", "--format", path.suffix[1:]).stdout == path.read_text()
    assert "<script" not in (out / "leaderboard.html").read_text()


def test_without_tests_parquet_files_are_not_needed(results: Path) -> None:
    for path in results.rglob("*.parquet"):
        path.unlink()
    assert "no letters, because what each clip scored is not beside the results" in call("results").stdout
    done = call("results", "--no-tests")
    assert done.exit_code == 0
    assert "letters" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere does not exist: give a result file, or a folder of results"),
        (["empty"], "no results of tvts-bench in empty"),
        (["results", "--format", "xls"], "--format takes table, csv, md, tex, html, got 'xls'"),
        (["results", "--metric", "R@7"], "no result has R@7"),
        (["ours=results"], "two runs of one name"),
    ],
)
def test_what_it_refuses_is_one_sentence(results: Path, arguments: list[str], says: str) -> None:
    (results.parent / "empty").mkdir()
    done = call(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
