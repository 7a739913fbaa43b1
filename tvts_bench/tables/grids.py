"""The cells of an ablation grid, from what `tvts-bench ablate` leaves in the folder of results.

Read here, written by `ablations.cells`: OUT/grids/GRID.json names for each row and seed the key of its cell, and the
stages (evaluations) that belong to the grid; OUT/cells/KEY/cell.json says how each stage of a cell stands, and which
files hold its results. Keys are of content, so what the grid names is of one configuration; results are checked again.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvts_bench.errors import UserError
from tvts_bench.results import ResultError, load, read_json
from tvts_bench.tables.alike import commonest, way_of
from tvts_bench.tables.base import Column, Table
from tvts_bench.tables.cells import Found, Seeded
from tvts_bench.tables.stored import Stored, other_version

SCHEMA = 1  # of both files
ABLATIONS = Path("runs/ablations")  # where `tvts-bench ablate` puts its cells
PRETRAIN = "pretrain"  # the stage that trains the cell's checkpoint


class GridError(UserError):
    """A grid's files that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class GridCells:
    """What a grid holds for a table."""

    found: Mapping[tuple[str, str], Found]  # (row, column) -> results of its seeds, or why there are none
    embedded: bool  # whether it was measured on the embedded world
    remarks: tuple[str, ...]  # what the table must say
    ignored: tuple[str, ...]  # a sentence each: results that are not taken


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One evaluation of one cell, or its pretraining."""

    seed: int
    protocol: str
    dataset: str | None
    status: str
    reason: str | None
    results: tuple[Path, ...]


def folder_of_grid(table: Table, out: Path) -> Path | None:
    """Where cells of the table's grid lie: where they are put, else in a folder of `out`, as published ones do."""
    beside = sorted(path for path in out.iterdir() if path.is_dir()) if out.is_dir() else []
    places = (folder for folder in (ABLATIONS, *beside) if os.access(folder, os.X_OK))
    return next((folder for folder in places if _record_of(table, folder).is_file()), None)


def _record_of(table: Table, out: Path) -> Path:
    return out / "grids" / f"{table.grid}.json"


def read_grid(table: Table, out: Path) -> GridCells | None:
    """The cells of the table's grid in `out`; None where the grid was never asked for there.

    Raises:
        GridError: a file is damaged, or of another version.
    """
    assert table.grid is not None
    grid = _read(_record_of(table, out))
    if grid is None:
        return None
    ignored: list[str] = []
    try:
        stages = {row["name"]: list(_stages(row, out, ignored)) for row in grid["rows"]}
        asked = {row["name"]: {name.rpartition("-")[0] for name in row["stages"]} for row in grid["rows"]}
        embedded = all(root is None for root in grid["datasets"].values())
        remark = f"grid {grid['grid']}, {grid['scale']}: tvts-pretrain {grid['preset']}{_changes(grid['changes'])}"
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise GridError(
            f"{out / 'grids'} holds no grid of this version ({error}): run `tvts-bench ablate` again"
        ) from None
    found: dict[tuple[str, str], Found] = {}
    for column in table.columns:
        measure = f"{column.protocols[0].command}-{column.dataset}"  # as the names of its stages begin
        cells = {
            row.name: _cell(column, stages[row.cell], ignored)
            for row in table.rows
            if row.cell in stages and measure in asked[row.cell]
        }
        found |= {(row, column.name): cell for row, cell in _alike(cells, column, ignored)}
    return GridCells(found=found, embedded=embedded, remarks=(remark,), ignored=tuple(dict.fromkeys(ignored)))


def _stages(row: Mapping[str, Any], out: Path, ignored: list[str]) -> Iterator[_Stage]:
    """The stages of a row's cells that belong to the grid, by seed; a cell that cannot be read goes to `ignored`."""
    for seed, key in sorted(row["cells"].items(), key=lambda pair: int(pair[0])):
        folder, asked = out / "cells" / key, row["stages"]
        try:
            cell = _read(folder / "cell.json") if Path(key).name == key else None
            if cell and (cell["key"], cell["seed"]) != (key, int(seed)):
                raise GridError(f"{folder / 'cell.json'} is the record of another cell")
            yield from [
                _Stage(
                    seed=int(seed),
                    protocol=stage["protocol"],
                    dataset=stage["dataset"],
                    status=stage["status"],
                    reason=stage["reason"],
                    results=tuple(folder / file for file in stage["results"]),
                )
                for stage in (cell["stages"] if cell else ())
                if stage["protocol"] == PRETRAIN or stage["name"] in asked
            ]
        except GridError as error:
            ignored.append(f"ignored {row['name']}:{seed}: {error}")
        except (KeyError, TypeError) as error:
            ignored.append(f"ignored {row['name']}:{seed}: {folder / 'cell.json'} is no record of a cell ({error})")


def _changes(changes: Mapping[str, str]) -> str:
    return "".join(f" {key}={value}" for key, value in sorted(changes.items()))


def _cell(column: Column, stages: list[_Stage], ignored: list[str]) -> Found | None:
    """The column's results of all seeds; why the seeds without one failed."""
    protocol = column.protocols[0]
    stored: list[Seeded] = []
    reasons: dict[int, str] = {}
    for stage in stages:
        here = (stage.protocol, stage.dataset) == (protocol.command, column.dataset)
        if stage.status == "failed" and (here or stage.protocol == PRETRAIN):
            reasons.setdefault(stage.seed, stage.reason or "no reason was recorded")
        if stage.status == "done" and here:
            results = list(_results(stage, column, ignored))
            stored += [(stage.seed, each) for each in results[:1]]
            ignored += [f"ignored {each.path}: another result of the same seed" for each in results[1:]]
    if not stored and not reasons:
        return None
    words = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items())
    return Found(stored=tuple(stored), status="measured" if stored else "failed", reason=words or None)


def _results(stage: _Stage, column: Column, ignored: list[str]) -> Iterator[Stored]:
    """The results of a stage that hold the column's number."""
    protocol = column.protocols[0]
    for path in stage.results:
        try:
            result = load(path)
        except ResultError as error:
            ignored.append(f"ignored: {error}")
            continue
        made_by = result.run.evaluator.get("name")
        if reason := other_version(result):
            ignored.append(f"ignored {path}: {reason}")
        elif made_by != protocol.evaluator:
            ignored.append(f"ignored {path}: measured by {made_by}, the table shows {protocol.evaluator}")
        elif any((metric.name, metric.condition) == (column.metric, protocol.condition) for metric in result.metrics):
            yield Stored(result=result, path=path)
        else:
            ignored.append(f"ignored {path}: it holds no {column.metric} ({protocol.condition})")


def _alike(cells: Mapping[str, Found | None], column: Column, ignored: list[str]) -> Iterator[tuple[str, Found]]:
    """The cells with only those results that were measured alike: by the way that most of them were."""
    common = commonest(way_of(stored) for cell in cells.values() if cell for _, stored in cell.stored)
    for row, cell in cells.items():
        if cell is None:
            continue
        kept = tuple(each for each in cell.stored if way_of(each[1]) == common)
        if len(kept) < len(cell.stored):
            lost = len(cell.stored) - len(kept)
            ignored.append(
                f"ignored {lost} of {len(cell.stored)} results of {row}, {column.name}: measured on other clips, in"
                " another precision or with other settings than those shown"
            )
        if kept or cell.status == "failed":
            yield row, Found(stored=kept, status=cell.status, reason=cell.reason)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise GridError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise GridError(f"{path} was written by another version of tvts-bench; give another --out")
    return document
