"""What results/publish.py copies, and that the tables in results/ are those that the commands make of it."""

import runpy
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.grids import FINETUNE, RETRIEVAL, cell, grid
from tests.support.results import classification, retrieval
from tvts_bench.cli.main import app
from tvts_bench.errors import UserError
from tvts_bench.results import index, load

RESULTS = Path(__file__).parents[1] / "results"
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
    whole, copy = made_grid(tmp_path / "whole"), tmp_path / "copy"
    assert publish(whole, copy) == 4
    assert publish(whole, copy) == 4  # again, in place of what is there
    made = tables_of("table3", copy, tmp_path / "b")
    assert made == tables_of("table3", whole, tmp_path / "a")
    assert "± " in made["table3.md"].decode()
    assert "[" in made["table3.md"].decode().splitlines()[4]  # an interval
    assert (copy / "cells" / "none0" / "run" / "metrics.jsonl").is_file()
    assert not list(copy.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_published_tables_are_made_of_the_published_cells(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = next((RESULTS / "ablations").glob("cells/*/results/*/*.json"))
    monkeypatch.setattr(index, "VERSION", load(result).provenance["versions"]["tvts-bench"])
    made = tables_of(name, RESULTS / "ablations", tmp_path)
    for file in (f"{name}.md", f"{name}.tex"):  # rounded: the last bits of means are the processor's
        assert made[file].decode() == (RESULTS / "tables" / file).read_text(encoding="utf-8")


def test_what_is_published_stays_until_its_copy_is_whole(tmp_path: Path) -> None:
    whole, copy = made_grid(tmp_path / "whole"), tmp_path / "copy"
    publish(whole, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="is what would be copied"):
        publish(copy, tmp_path / "whole" / ".." / "copy")
    table = next((whole / "cells" / "none0").rglob("*.parquet"))
    table.write_bytes(b"no table")
    with pytest.raises(UserError, match=f"cannot read {table}"):
        publish(whole, copy)
    next((whole / "cells" / "k_way0").rglob("results/*/*.json")).unlink()
    with pytest.raises(FileNotFoundError):
        publish(whole, copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_cells_of_no_grid_are_published_no_more(tmp_path: Path) -> None:
    whole, copy = made_grid(tmp_path / "whole"), tmp_path / "copy"
    publish(whole, copy)
    grid(whole, {"none": {"0": "none0"}})
    assert publish(whole, copy) == 1
    assert [path.name for path in (copy / "cells").iterdir()] == ["none0"]


def test_a_folder_without_a_grid_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no grid"):
        publish(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
