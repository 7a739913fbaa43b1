"""What a grid leaves on disk: a folder a cell with a record of how it stands, and a file a grid that names its cells.

OUT/grids/sort-modeling.json          the grid as it was last asked for: its rows, and the keys of their cells by seed
OUT/cells/KEY/cell.json               what the cell is, and how each of its stages stands
OUT/cells/KEY/run/                    the pretraining, as tvts-pretrain leaves it
OUT/cells/KEY/results/STAGE/*.json    the results of an evaluation, with what else its command writes
OUT/cells/KEY/logs/STAGE.log          what its command said
OUT/cells/KEY/claim                   locked by who runs the cell, and says who that is

A cell is one pretraining; its stages are that and the evaluations of its checkpoint. KEY is a digest of all that can
change the checkpoint, so grids share cells, and more evaluations of a cell train nothing again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tvts_bench.errors import UserError
from tvts_bench.results import read_json, write_atomically
from tvts_bench.typed_json import MisfitError, typed

SCHEMA = 1  # of both files; raised when a field changes its meaning
PRETRAIN = "pretrain"  # name and protocol of the first stage

Status = Literal["waiting", "running", "done", "failed"]
Failure = Literal["diverged", "time limit", "out of memory", "killed", "error"]


class CellError(UserError):
    """A folder that holds no grid, or a record that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """How one command of a cell stands."""

    name: str  # "pretrain", or protocol, data set and a digest of the options: "retrieval-ssv2-1f0c6e2b"
    protocol: str  # "pretrain", "retrieval", "probe", "finetune"
    dataset: str | None = None  # as the grid names it: "ssv2"; None for the pretraining
    command: tuple[str, ...] = ()  # the last one that was started, as one would type it in the cell's folder
    status: Status = "waiting"  # "waiting" with a reason: it was stopped, and goes on
    failure: Failure | None = None
    reason: str | None = None  # why it failed or was stopped, in one line
    started: float | None = None  # seconds since 1970
    seconds: float = 0.0  # that it ran, over all attempts
    results: tuple[str, ...] = ()  # result files (JSON), relative to the cell's folder


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """A cell: what it is, and how it stands."""

    key: str
    config: Mapping[str, Any]  # all that the key is the digest of: resolved pretraining with its seed, versions
    seed: int
    stages: tuple[StageRecord, ...] = ()
    created: float = 0.0  # seconds since 1970

    @property
    def status(self) -> Status:
        """Of all stages together: one that failed makes the cell failed, one that is left makes it waiting."""
        found = {stage.status for stage in self.stages}
        for status in ("running", "failed", "waiting"):
            if status in found:
                return status
        return "done" if found else "waiting"

    @property
    def reason(self) -> str | None:
        """Why it failed or was stopped, in one line; None where neither happened."""
        return next((stage.reason for stage in self.stages if stage.status == self.status and stage.reason), None)

    def stage(self, name: str) -> StageRecord | None:
        """The stage of that name, if the cell has it."""
        return next((stage for stage in self.stages if stage.name == name), None)


@dataclass(frozen=True, kw_only=True)
class RowRecord:
    """A row of a grid and its cells."""

    name: str
    title: str
    settings: Mapping[str, str]
    cells: Mapping[str, str]  # seed, as text -> key of the cell
    stages: tuple[str, ...]  # names of the stages that belong to the grid; a cell may have others


@dataclass(frozen=True, kw_only=True)
class GridRecord:
    """A grid as it was last asked for."""

    grid: str
    title: str
    table: int | None  # of the paper
    baseline: str  # name of a row
    scale: str  # quick, full
    preset: str  # of tvts-pretrain
    changes: Mapping[str, str]  # to it, in all rows: by the scale and by --set
    protocols: tuple[str, ...]
    datasets: Mapping[str, str | None]  # as the grid names them -> folder; None: the embedded world's
    rows: tuple[RowRecord, ...] = field(default=())

    @property
    def keys(self) -> frozenset[str]:
        """Of all its cells."""
        return frozenset(key for row in self.rows for key in row.cells.values())


def cell_folder(out: Path, key: str) -> Path:
    """Where the cell of that key lies."""
    return out / "cells" / key


def write_cell(out: Path, record: CellRecord) -> None:
    """Write cell.json whole; only who holds the cell's claim does.

    Raises:
        ResultError: it cannot be written.
    """
    document = {"schema": SCHEMA, **asdict(record), "status": record.status, "reason": record.reason}
    write_atomically(cell_folder(out, record.key) / "cell.json", _text(document))


def read_cell(out: Path, key: str) -> CellRecord | None:
    """The record of the cell of that key; None where it was never begun.

    Raises:
        CellError: the file is damaged, or of a version that this one cannot read.
    """
    path = cell_folder(out, key) / "cell.json"
    document = _read(path)
    if document is None:
        return None
    try:
        fields = {name: value for name, value in document.items() if name not in ("status", "reason")}
        record = typed(CellRecord, fields)
        if record.key != key:
            raise MisfitError(f"key must be {key}, got {record.key!r}")
        return record
    except MisfitError as error:
        raise CellError(f"{path} is no record of a cell ({error}); delete its folder to run the cell again") from None


def readable_cells(out: Path, keys: Iterable[str]) -> Iterator[CellRecord]:
    """The records of these cells that are there; a damaged one is passed over, and refused where its cell is run."""
    for key in keys:
        with suppress(CellError):
            if (record := read_cell(out, key)) is not None:
                yield record


def write_grid(out: Path, record: GridRecord) -> None:
    """Write OUT/grids/GRID.json.

    Raises:
        ResultError: it cannot be written.
    """
    write_atomically(out / "grids" / f"{record.grid}.json", _text({"schema": SCHEMA, **asdict(record)}))


def read_grid(out: Path, name: str) -> GridRecord | None:
    """The grid of that name as it was last asked for in `out`; None where it never was.

    Raises:
        CellError: the file is damaged, or of a version that this one cannot read.
    """
    path = out / "grids" / f"{name}.json"
    document = _read(path)
    if document is None:
        return None
    try:
        record = typed(GridRecord, document)
        if not record.rows:
            raise MisfitError("it has no rows")
        if odd := [seed for row in record.rows for seed in row.cells if not _is_seed(seed)]:
            raise MisfitError(f"a seed must be a whole number, got {odd[0][:40]!r}")
        return record
    except MisfitError as error:
        raise CellError(
            f"{path} is no record of a grid ({error}); delete it, `tvts-bench ablate` makes it anew"
        ) from None


def grid_names(out: Path) -> tuple[str, ...]:
    """Names of the grids that were asked for in `out`."""
    return tuple(sorted(path.stem for path in (out / "grids").glob("*.json")))


def _is_seed(text: str) -> bool:
    return text.isdecimal() and len(text) < 20  # int() refuses thousands of digits


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _read(path: Path) -> dict[str, Any] | None:
    """A file of ours without its schema."""
    try:
        document = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CellError(f"cannot read {path}: {error}; `tvts-bench ablate` makes it anew once it is deleted") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise CellError(f"{path} was written by another version of tvts-bench; give another --out")
    return document
