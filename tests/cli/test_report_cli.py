"""`tvts-bench report`: what it writes, says, and refuses."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.report_folders import results_folder, write_table_of
from tvts_bench.cli.main import app


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments], env={"COLUMNS": "200"})


def test_it_writes_one_page_and_names_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results_folder(tmp_path / "results")
    (tmp_path / "results" / "broken.json").write_text("{", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = call("--gallery", "2")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count('<li class="query"') == 2
    assert "left out results/broken.json: it cannot be read" in done.stderr
    assert "written: report.html" in done.stderr
    assert call("results", "--out", "again.html", "--gallery", "2", "--data", "folder=videos").exit_code == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere does not exist: give a folder of results"),
        (["empty"], "empty holds no results of tvts-bench"),
        (["results", "--data", "ssv2"], "--data takes SET=DIR, such as ssv2=DIR, got 'ssv2'"),
        (["results", "--data", "sssv2=empty"], "did you mean ssv2"),
        (["results", "--data", "ssv2=gone"], "--data ssv2=gone: gone is not a folder"),
        (["results", "--out", "empty"], "cannot write the page to empty: it is a folder"),
        (["results", "--out", "file/report.html"], "cannot write to file"),
    ],
)
def test_what_it_refuses_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    write_table_of(tmp_path / "results")
    done = call(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
