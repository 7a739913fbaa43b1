"""A filled table: what was measured and published, how cells compare, and the JSON document of it all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tvts_bench.metrics.significance import PairedTest
from tvts_bench.provenance import canonical
from tvts_bench.results.index import StoredResult
from tvts_bench.tables.base import Column, Protocol, Published, Table, TableRow

FOLDER = "tables"  # of tables, under the folder of all results
SCHEMA = 1  # of the JSON document; raised when a field changes its meaning

Status = Literal["", "measured", "failed", "not run"]
"""Blank: nothing was requested, or it has not been run yet. failed: it ran and did not converge, or ended in an error.
not run: it was requested and could not be."""

ALPHA = 0.05  # p-values below are marked


Seeded = tuple[int | None, StoredResult]
"""A seed of pretraining (None where the backbone is given), and a result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CellResults:
    """What fills a cell: results, or why there is none."""

    stored: tuple[Seeded, ...] = ()  # one per seed, in the order of the seeds
    status: Status = "measured"
    reason: str | None = None  # one sentence: why there is no result, or not of every seed


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of a split was measured."""

    split: str
    used: int  # clips
    listed: int
    official: int | None  # of the official split; None where there is no such thing
    complete: bool  # all of it, and where it is a public set, all that belongs to it

    @property
    def percent(self) -> float:
        """Of the official split, or where there is none of the list; below 100 wherever it is not complete."""
        whole = max(self.official or 0, self.listed)
        return 100.0 if self.complete else min(100 * self.used / whole, 99.99)


@dataclass(frozen=True, kw_only=True)
class RunOf:
    """One result behind a cell."""

    key: str
    file: str  # JSON of the result, relative to the folder of results
    seed: int | None  # of pretraining; None where the backbone is given
    value: float
    backbone: Mapping[str, Any]  # as in the result's run
    dataset: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number of a cell, in percent: the mean where there are several seeds."""

    value: float
    low: float | None  # 95 % interval over queries or clips, each averaged over the seeds
    high: float | None
    clips: int  # queries or tested clips
    chance: float | None
    parts: tuple[Part, ...]  # the tested split first
    runs: tuple[RunOf, ...]  # one per seed
    spread: float | None = None  # standard deviation over the seeds of pretraining

    @property
    def complete(self) -> bool:
        """Whether all clips were measured, and trained on."""
        return all(part.complete for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Versus:
    """A cell against the baseline row's."""

    baseline: str
    test: PairedTest

    @property
    def significant(self) -> bool:
        """Whether p is below `ALPHA`; not corrected for how many rows are compared."""
        return self.test.p < ALPHA


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Row and column, and what is known of them."""

    row: str
    column: str
    published: Published = None
    status: Status = ""
    reason: str | None = None  # of "failed" and "not run", one sentence
    measured: Measured | None = None
    difference: float | None = None  # measured less published; only on all of the real data, by the paper's protocol
    versus: Versus | None = None
    best: bool = False  # of the column's measured numbers
    best_published: bool = False


@dataclass(frozen=True, kw_only=True)
class FilledTable:
    """A table with its cells."""

    table: Table
    title: str  # with the data that was measured
    columns: tuple[Column, ...]  # those that are shown
    protocols: Mapping[str, Protocol]  # column -> what it was, or would be, measured by
    measured_on: Mapping[str, str]  # column -> its data set in words; a part of a public set is called so
    rows: tuple[TableRow, ...]
    cells: Mapping[tuple[str, str], Cell]  # (row, column) -> cell; each pair is there
    baseline: str | None  # row that the others are tested against
    embedded: bool  # whether the built-in synthetic set (ScriptedMotion) stands in for the data sets
    notes: tuple[str, ...] = field(default=())

    def cell(self, row: TableRow, column: Column) -> Cell:
        """The cell of that row and column."""
        return self.cells[row.name, column.name]


def as_document(table: FilledTable) -> dict[str, Any]:
    """Plain JSON types. Rows and columns in the order of the table; a cell for each pair, row by row.

    A cell's `measured.runs` name the results it is made of, by key and by file relative to the folder of results.
    """
    declared = table.table
    return {
        "schema": SCHEMA,
        "table": declared.name,
        "title": table.title,
        "embedded": table.embedded,
        "baseline": table.baseline,
        "grid": declared.grid,
        "labels": dict(declared.labels),
        "columns": [
            {
                "name": column.name,
                "heading": column.heading,
                "dataset": column.dataset,
                "metric": column.metric,
                "published": column.published,
                "measured_on": table.measured_on[column.name],
                "protocol": canonical(table.protocols[column.name]),
            }
            for column in table.columns
        ],
        "rows": [
            {"name": row.name, "group": row.group, "labels": dict(row.labels), "paper": bool(row.published)}
            for row in table.rows
        ],
        "cells": [_json_cell(table.cell(row, column)) for row in table.rows for column in table.columns],
        "notes": list(table.notes),
    }


def _json_cell(cell: Cell) -> dict[str, Any]:
    fields = asdict(cell)
    if cell.measured:
        for part, shown in zip(cell.measured.parts, fields["measured"]["parts"], strict=True):
            shown["percent"] = part.percent
        fields["measured"]["complete"] = cell.measured.complete
    if cell.versus:
        fields["versus"] = {"baseline": cell.versus.baseline, **asdict(cell.versus.test)}
        fields["versus"]["significant"] = cell.versus.significant
    return fields
