"""What results/publish.py writes, and that the tables in results/ are those that the commands make of it."""

import json
import re
import runpy
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.grids import FINETUNE, RETRIEVAL, cell, grid
from tests.support.results import classification, retrieval
from tvts_bench.cli.main import app
from tvts_bench.errors import UserError
from tvts_bench.report.folder import GridContents, read_contents
from tvts_bench.results import index
from tvts_bench.results.grids import GridError, root_of_grid

RESULTS = Path(__file__).parents[2] / "results"
ARCHIVE = "sort-modeling.zip"
publish = runpy.run_path(str(RESULTS / "publish.py"))["publish"]


def tables_of(name: str, cells: Path, out: Path) -> dict[str, bytes]:
    """The files of a table that is made of `cells`, which are put into the folder of results."""
    shutil.copytree(cells, out / "ablations")
    ended = CliRunner().invoke(app, [name, "--ablations", str(out / "ablations"), "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    return {path.name: path.read_bytes() for path in (out / "tables").iterdir()}


def made_grid(out: Path) -> Path:
    """Two rows of two seeds, whose clips are answered otherwise."""
    rows = {
        name: {
            str(seed): cell(
                out,
                f"{name}{seed}",
                seed,
                {
                    RETRIEVAL: retrieval([[True, False], [seed > 0, right], [right, True]], backbone=f"{name}{seed}"),
                    FINETUNE: classification([True, right, seed > 0], backbone=f"{name}{seed}"),
                },
            )
            for seed in (0, 1)
        }
        for name, right in (("none", False), ("k_way", True))
    }
    grid(out, rows)
    heavy = out / "cells" / "none0" / "run" / "backbone.safetensors"
    heavy.parent.mkdir()
    heavy.write_bytes(b"weights")
    heavy.with_name("metrics.jsonl").write_text('{"step": 1}\n')
    return out


def test_tables_of_what_is_published_are_those_of_the_whole(tmp_path: Path) -> None:
    whole, published = made_grid(tmp_path / "whole"), tmp_path / "published"
    assert publish(whole, published) == 1
    first = (published / ARCHIVE).read_bytes()
    assert publish(whole, published) == 1  # again, in place of what is there
    assert (published / ARCHIVE).read_bytes() == first
    made = tables_of("table3", published, tmp_path / "b")
    assert made == tables_of("table3", whole, tmp_path / "a")
    assert "± " in made["table3.md"].decode()
    assert "[" in made["table3.md"].decode().splitlines()[4]  # an interval
    names = zipfile.ZipFile(published / ARCHIVE).namelist()
    assert "cells/none0/cell.json" in names
    assert {Path(name).suffix for name in names} == {".json", ".parquet"}  # no weights, no curves


def test_one_published_grid_is_named_by_itself(tmp_path: Path) -> None:
    whole = made_grid(tmp_path / "whole")
    publish(whole, tmp_path / "out" / "ablations")
    archive = tmp_path / "out" / "ablations" / ARCHIVE
    arguments = ["table3", "--ablations", str(archive), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "out" / "tables").iterdir()}
    assert made == tables_of("table3", whole, tmp_path / "a")


def test_status_and_report_read_what_is_published(tmp_path: Path) -> None:
    whole, published = made_grid(tmp_path / "whole"), tmp_path / "published"
    publish(whole, published)
    shown = [CliRunner().invoke(app, ["status", str(folder)]) for folder in (whole, published)]
    assert shown[0].exit_code == 0, shown[0].output
    assert shown[0].stdout == shown[1].stdout
    (theirs,), (ours,) = (read_contents(folder).grids for folder in (whole, published))
    assert (ours.record, ours.cells, ours.damaged) == (theirs.record, theirs.cells, frozenset())
    assert _values(ours) == _values(theirs)


def _values(grid: GridContents) -> dict[str, list[tuple[str, str]]]:
    return {
        key: [(name, stored.result.run.key) for name, each in stages.items() for stored in each]
        for key, stages in grid.results.items()
    }


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_published_tables_are_made_of_the_published_grids(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "VERSION", version_of(RESULTS / "ablations"))
    made = tables_of(name, RESULTS / "ablations", tmp_path)
    for file in (f"{name}.md", f"{name}.tex"):  # rounded: the last bits of means are the processor's
        assert made[file].decode() == (RESULTS / "tables" / file).read_text(encoding="utf-8")


def test_table_1_has_the_numbers_of_the_published_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its intervals need what each clip scored, which was not kept on that machine."""
    monkeypatch.setattr(index, "VERSION", version_of(RESULTS / "ablations-epyc"))
    made = tables_of("table1", RESULTS / "ablations-epyc", tmp_path)["table1.md"].decode()
    committed = (RESULTS / "tables" / "table1.md").read_text(encoding="utf-8")
    bare = [re.sub(r" \[[\d.]+, [\d.]+\]", "", line) for line in committed.splitlines() if line.startswith("| ")]
    assert [line for line in made.splitlines() if line.startswith("| ")] == bare


def version_of(folder: Path) -> str:
    """What made the results of published grids."""
    with zipfile.ZipFile(sorted(folder.glob("*.zip"))[0]) as members:
        result = next(each for each in members.namelist() if "/results/" in each and each.endswith(".json"))
        return str(json.loads(members.read(result))["provenance"]["versions"]["tvts-bench"])


def test_what_is_published_stays_until_its_file_is_whole(tmp_path: Path) -> None:
    whole, published = made_grid(tmp_path / "whole"), tmp_path / "published"
    publish(whole, published)
    before = {path: path.read_bytes() for path in published.iterdir()}
    table = next((whole / "cells" / "none0").rglob("*.parquet"))
    table.write_bytes(b"no table")
    with pytest.raises(UserError, match=f"cannot read {table}"):
        publish(whole, published)
    table.unlink()
    next((whole / "cells" / "k_way0").rglob("results/*/*.json")).unlink()
    with pytest.raises(FileNotFoundError):
        publish(whole, published)
    assert {path: path.read_bytes() for path in published.iterdir()} == before


def test_cells_of_no_grid_are_published_no_more(tmp_path: Path) -> None:
    whole, published = made_grid(tmp_path / "whole"), tmp_path / "published"
    publish(whole, published)
    grid(whole, {"none": {"0": "none0"}})
    publish(whole, published)
    names = zipfile.ZipFile(published / ARCHIVE).namelist()
    assert {name.split("/")[1] for name in names if name.startswith("cells/")} == {"none0"}


def test_a_folder_without_a_grid_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no grid"):
        publish(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_damaged_archive_is_named_and_no_grid(tmp_path: Path) -> None:
    whole, published = made_grid(tmp_path / "whole"), tmp_path / "published"
    publish(whole, published)
    content = (published / ARCHIVE).read_bytes()
    (published / ARCHIVE).write_bytes(content[: len(content) // 2])
    with pytest.raises(GridError, match="damaged"):
        root_of_grid(published, "sort-modeling")
    with pytest.raises(UserError, match=f"cannot read {published / ARCHIVE}: .*damaged"):
        read_contents(published)
    ended = CliRunner().invoke(app, ["status", str(published)])
    assert (ended.exit_code, "damaged" in ended.stderr) == (2, True)
