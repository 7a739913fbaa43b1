"""The model of a filled table, which renderers take: what was measured and published, and how cells compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tvts_bench.metrics.significance import PairedTest
from tvts_bench.tables.base import Column, Protocol, Published, Table, TableRow

Status = Literal["", "measured", "failed", "not run"]
"""Blank: nothing was requested, or it has not been run yet. failed: it ran and did not converge, or ended in an error.
not run: it was requested and could not be."""

ALPHA = 0.05  # p-values below are marked


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
