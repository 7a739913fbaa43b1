"""The cells of an ablation grid as cells of a table: which results fill which row and column.

Keys of cells are of content, so what the grid names is of one configuration; results are checked again.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.results.grids import (
    PRETRAIN,
    GridError,
    RowRecord,
    StageRecord,
    measured_by,
    read_cell,
    read_grid,
    root_of_grid,
    stage_results,
)
from tvts_bench.results.index import StoredResult, comparability_key, most_common, other_version
from tvts_bench.tables.base import Column, Table
from tvts_bench.tables.model import CellResults, Seeded

ABLATIONS = Path("runs/ablations")  # where `tvts-bench ablate` puts its cells
Evaluation = tuple[int, str, StageRecord]
"""Seed and key of a cell, and one of its stages, pretraining among them."""


@dataclass(frozen=True, kw_only=True)
class GridCells:
    """What a grid holds for a table."""

    results: Mapping[tuple[str, str], CellResults]  # (row, column) -> results of its seeds, or why there are none
    embedded: bool  # whether it was measured on the built-in synthetic set
    remarks: tuple[str, ...]  # what the table must say
    ignored: tuple[str, ...]  # a sentence each: results that are not taken


def folder_of_grid(table: Table, out: Path) -> Path | None:
    """Where cells of the table's grid lie: where they are put, else in a folder of `out`, as published ones do."""
    assert table.grid is not None
    beside = sorted(path for path in out.iterdir() if path.is_dir()) if out.is_dir() else []
    for folder in (ABLATIONS, *beside):
        if os.access(folder, os.X_OK) and root_of_grid(folder, table.grid) is not None:
            return folder
    return None


def read_grid_cells(table: Table, folder: Path) -> GridCells | None:
    """The cells of the table's grid in `folder`; None where the grid was never requested there.

    Args:
        table: one that a grid fills.
        folder: the --out of `tvts-bench ablate`, a folder of published grids, or one published grid.

    Raises:
        GridError: the record of the grid is damaged, or of another version.
    """
    assert table.grid is not None
    root = root_of_grid(folder, table.grid)
    grid = read_grid(root, table.grid) if root is not None else None
    if root is None or grid is None:
        return None
    ignored: list[str] = []
    evaluations = {row.name: list(_evaluations(row, root, ignored)) for row in grid.rows}
    requested = {row.name: {measured_by(name) for name in row.stages} for row in grid.rows}
    results: dict[tuple[str, str], CellResults] = {}
    for column in table.columns:
        name = f"{column.protocols[0].command}-{column.dataset}"  # as the names of its stages begin
        cells = {
            row.name: _cell(column, root, evaluations[row.cell], ignored)
            for row in table.rows
            if row.cell in evaluations and name in requested[row.cell]
        }
        results |= {(row, column.name): cell for row, cell in _comparable(cells, column, ignored)}
    changes = "".join(f" {key}={value}" for key, value in sorted(grid.changes.items()))
    return GridCells(
        results=results,
        embedded=all(folder is None for folder in grid.datasets.values()),
        remarks=(f"grid {grid.grid}, {grid.scale}: tvts-pretrain {grid.preset}{changes}",),
        ignored=tuple(dict.fromkeys(ignored)),
    )


def _evaluations(row: RowRecord, root: Path, ignored: list[str]) -> Iterator[Evaluation]:
    """The stages of a row's cells that belong to the grid, by seed; a cell that cannot be read goes to `ignored`."""
    for seed, key in sorted(row.cells.items(), key=lambda pair: int(pair[0])):
        try:
            cell = read_cell(root, key)
            if cell and cell.seed != int(seed):
                raise GridError(f"cell {key} is the record of another cell, of seed {cell.seed}")
        except GridError as error:
            ignored.append(f"ignored {row.name}:{seed}: {error}")
            continue
        yield from ((int(seed), key, stage) for stage in (cell.stages_of(row) if cell else ()))


def _cell(column: Column, root: Path, evaluations: list[Evaluation], ignored: list[str]) -> CellResults | None:
    """The column's results of all seeds; why the seeds without one failed, and which have not learned to sort."""
    protocol = column.protocols[0]
    stored: list[Seeded] = []
    reasons: dict[int, str] = {}
    remarks: dict[int, str] = {}
    for seed, key, stage in evaluations:
        here = (stage.protocol, stage.dataset) == (protocol.command, column.dataset)
        if stage.status == "failed" and (here or stage.protocol == PRETRAIN):
            reasons.setdefault(seed, stage.reason or "no reason was recorded")
        if stage.status == "done" and stage.protocol == PRETRAIN and stage.reason:
            remarks[seed] = stage.reason
        if stage.status == "done" and here:
            problems: list[str] = []
            results = list(_holding(column, stage_results(root, key, stage, problems), ignored))
            ignored += [f"ignored: {problem}" for problem in problems]
            stored += [(seed, result) for result in results[:1]]
            ignored += [f"ignored {result.path}: another result of the same seed" for result in results[1:]]
    if not stored and not reasons:
        return None
    reasons = {**{seed: remarks[seed] for seed, _ in stored if seed in remarks}, **reasons}
    words = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items())
    return CellResults(stored=tuple(stored), status="measured" if stored else "failed", reason=words or None)


def _holding(column: Column, results: Iterable[StoredResult], ignored: list[str]) -> Iterator[StoredResult]:
    """Those of a stage's results that hold the column's number."""
    protocol = column.protocols[0]
    for stored in results:
        evaluator = stored.result.run.evaluator.get("name")
        metrics = {(metric.name, metric.condition) for metric in stored.result.metrics}
        if reason := other_version(stored.result):
            ignored.append(f"ignored {stored.path}: {reason}")
        elif evaluator != protocol.evaluator:
            ignored.append(f"ignored {stored.path}: measured by {evaluator}, the table shows {protocol.evaluator}")
        elif (column.metric, protocol.condition) not in metrics:
            ignored.append(f"ignored {stored.path}: it holds no {column.metric} ({protocol.condition})")
        else:
            yield stored


def _comparable(
    cells: Mapping[str, CellResults | None], column: Column, ignored: list[str]
) -> Iterator[tuple[str, CellResults]]:
    """The cells with only those results that may be compared: of the key that most of them have."""
    common = most_common(comparability_key(stored) for cell in cells.values() if cell for _, stored in cell.stored)
    for row, cell in cells.items():
        if cell is None:
            continue
        kept = tuple(each for each in cell.stored if comparability_key(each[1]) == common)
        if len(kept) < len(cell.stored):
            lost = len(cell.stored) - len(kept)
            ignored.append(
                f"ignored {lost} of {len(cell.stored)} results of {row}, {column.name}: measured on other clips, in"
                " another precision or with other settings than those shown"
            )
        if kept or cell.status == "failed":
            yield row, CellResults(stored=kept, status=cell.status, reason=cell.reason)
