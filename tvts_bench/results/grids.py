"""Ablation grids on disk: what each cell is, its status and what it measured, and which cells a grid has.

OUT/grids/sort-modeling.json          the grid as it was last requested: its rows, and the keys of their cells by seed
OUT/cells/KEY/cell.json               what the cell is, and the status of each of its stages
OUT/cells/KEY/run/                    the pretraining, as tvts-pretrain leaves it
OUT/cells/KEY/results/STAGE/*.json    the results of an evaluation, with what else its command writes
OUT/cells/KEY/logs/STAGE.log          the output of its command
OUT/cells/KEY/claim                   locked by the process that runs the cell, and names it
OUT/sort-modeling.zip                 instead of all these: a published grid (see `archive`)

A cell is one pretraining; its stages are that and the evaluations of its checkpoint. KEY is a digest of all that can
change the checkpoint, so grids share cells, and more evaluations of a cell train nothing again. Functions that read
take a `root`: the folder OUT, or such an archive.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tvts_bench.errors import UserError
from tvts_bench.results.archive import SUFFIX as ARCHIVE
from tvts_bench.results.archive import is_archive, names_below, read_below
from tvts_bench.results.files import load, write_atomically
from tvts_bench.results.index import StoredResult
from tvts_bench.results.result import ResultError
from tvts_bench.typed_json import MisfitError, typed

GRIDS, CELLS = "grids", "cells"  # folders below the root
SCHEMA = 1  # of both files; raised when a field changes its meaning
PRETRAIN = "pretrain"  # name and protocol of the first stage

Status = Literal["waiting", "running", "done", "failed"]
Failure = Literal["diverged", "time limit", "out of memory", "killed", "error"]


class GridError(UserError):
    """A folder that holds no grid, or a record that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One command of a cell, and its status."""

    name: str  # "pretrain", or protocol, data set and a digest of the options: "retrieval-ssv2-1f0c6e2b"
    protocol: str  # "pretrain", "retrieval", "probe", "finetune"
    dataset: str | None = None  # as the grid names it: "ssv2"; None for the pretraining
    command: tuple[str, ...] = ()  # the last one that was started, as one would type it in the cell's folder
    status: Status = "waiting"  # "waiting" with a reason: it was stopped, and resumes
    failure: Failure | None = None
    reason: str | None = None  # in one line: why it failed or was stopped, or what a pretraining did not learn
    started: float | None = None  # seconds since 1970
    seconds: float = 0.0  # that it ran, over all attempts
    results: tuple[str, ...] = ()  # result files (JSON), relative to the cell's folder


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """A cell: what it is, and the status of its stages."""

    key: str
    config: Mapping[str, Any]  # all that the key is the digest of: resolved pretraining with its seed, versions
    seed: int
    stages: tuple[StageRecord, ...] = ()
    created: float = 0.0  # seconds since 1970

    @property
    def status(self) -> Status:
        """Of all stages together: one that failed makes the cell failed, one that is left makes it waiting."""
        statuses = {stage.status for stage in self.stages}
        for status in ("running", "failed", "waiting"):
            if status in statuses:
                return status
        return "done" if statuses else "waiting"

    @property
    def reason(self) -> str | None:
        """Why it failed or was stopped, or what it did not learn, in one line; None where nothing of that happened."""
        return next((stage.reason for stage in self.stages if stage.status == self.status and stage.reason), None)

    def __getitem__(self, name: str) -> StageRecord:
        """The stage of that name, which the cell has."""
        return next(stage for stage in self.stages if stage.name == name)

    def stages_of(self, row: "RowRecord") -> list[StageRecord]:
        """Its pretraining, and those of its evaluations that belong to a grid's row."""
        return [stage for stage in self.stages if stage.name in (PRETRAIN, *row.stages)]

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
    """A grid as it was last requested."""

    grid: str
    title: str
    table: int | None  # of the paper
    baseline: str  # name of a row
    scale: str  # quick, full
    preset: str  # of tvts-pretrain
    changes: Mapping[str, str]  # to it, in all rows: by the scale and by --set
    protocols: tuple[str, ...]
    datasets: Mapping[str, str | None]  # as the grid names them -> folder; None: the built-in synthetic set's
    rows: tuple[RowRecord, ...] = field(default=())

    @property
    def keys(self) -> frozenset[str]:
        """Of all its cells."""
        return frozenset(key for row in self.rows for key in row.cells.values())


def cell_folder(root: Path, key: str) -> Path:
    """Where the cell of that key lies; of an archive, where it would lie if that were unpacked beside itself."""
    return (root.parent if is_archive(root) else root) / CELLS / key


def grid_roots(folder: Path) -> list[Path]:
    """`folder` if it holds records of grids, and the archives in it; an archive itself is its own only root."""
    if is_archive(folder):
        return [folder]
    return [*([folder] if (folder / GRIDS).is_dir() else []), *sorted(filter(is_archive, folder.glob(f"*{ARCHIVE}")))]


def grid_names(root: Path) -> tuple[str, ...]:
    """Names of the grids that were requested in `root`.

    Raises:
        GridError: it is a damaged archive.
    """
    try:
        return names_below(root, GRIDS, ".json")
    except OSError as error:
        raise GridError(f"cannot read {root}: {error}") from error


def root_of_grid(folder: Path, name: str) -> Path | None:
    """The first of `folder` and the archives in it that holds the grid of that name.

    Raises:
        GridError: The archive that is called as the grid is damaged; another file of zip's ending is none of ours.
    """
    for root in grid_roots(folder):
        try:
            if name in grid_names(root):
                return root
        except GridError:
            if root.stem == name:
                raise
    return None


def write_cell(out: Path, record: CellRecord) -> None:
    """Write cell.json whole; only who holds the cell's lock does.

    Raises:
        ResultError: it cannot be written.
    """
    document = {"schema": SCHEMA, **asdict(record), "status": record.status, "reason": record.reason}
    write_atomically(cell_folder(out, record.key) / "cell.json", _text(document))


def read_cell(root: Path, key: str) -> CellRecord | None:
    """The record of the cell of that key; None where it was never begun.

    Raises:
        GridError: the file is damaged, of another cell, or of a version that this one cannot read.
    """
    name = f"{CELLS}/{key}/cell.json"
    document = _read(root, name) if Path(key).name == key else None
    if document is None:
        return None
    again = "delete its folder to run the cell again"
    try:
        fields = {field: value for field, value in document.items() if field not in ("status", "reason")}
        record = typed(CellRecord, fields)
    except MisfitError as error:
        raise GridError(f"{root / name} is no record of a cell ({error}); {again}") from None
    if record.key != key:
        raise GridError(f"{root / name} is the record of another cell, {record.key[:40]!r}; {again}")
    return record


def readable_cells(root: Path, keys: Iterable[str]) -> Iterator[CellRecord]:
    """The records of these cells that are there; a damaged one is passed over, and refused where its cell is run."""
    for key in keys:
        with suppress(GridError):
            if (record := read_cell(root, key)) is not None:
                yield record


def stage_results(root: Path, key: str, stage: StageRecord, problems: list[str]) -> Iterator[StoredResult]:
    """The results of one stage.

    Args:
        root: the folder of the grid, or its archive.
        key: of the cell.
        stage: of its record.
        problems: gets a sentence for each result that cannot be read.

    Yields:
        In the order of the record.
    """
    archive = root if is_archive(root) else None
    for file in stage.results:
        path = cell_folder(root, key) / file
        try:
            content = read_below(root, f"{CELLS}/{key}/{file}") if archive else None
            yield StoredResult(result=load(path, content), path=path, archive=archive)
        except ResultError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"cannot read the result file {path}: {error}")


def write_grid(out: Path, record: GridRecord) -> None:
    """Write OUT/grids/GRID.json.

    Raises:
        ResultError: it cannot be written.
    """
    write_atomically(out / GRIDS / f"{record.grid}.json", _text({"schema": SCHEMA, **asdict(record)}))


def read_grid(root: Path, name: str) -> GridRecord | None:
    """The grid of that name as it was last requested in `root`; None where it never was.

    Raises:
        GridError: the file is damaged, or of a version that this one cannot read.
    """
    document = _read(root, f"{GRIDS}/{name}.json")
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
        path = root / GRIDS / f"{name}.json"
        raise GridError(
            f"{path} is no record of a grid ({error}); delete it, `tvts-bench ablate` makes it anew"
        ) from None


def merge_records(now: GridRecord, before: GridRecord | None, out: Path) -> GridRecord:
    """`now` with the stages of its rows that were done before, where cells and data are the same ones.

    What the same protocol measured on the same data set with other options gives way to what is requested now.

    Args:
        now: the grid as it is requested.
        before: as it was requested in `out` before.
        out: the folder of the grid.

    Returns:
        The record to write.
    """
    if before is None or before.datasets != now.datasets:
        return now
    earlier = {row.name: row for row in before.rows}
    return replace(now, rows=tuple(_merge_rows(row, earlier.get(row.name), out) for row in now.rows))


def _merge_rows(row: RowRecord, before: RowRecord | None, out: Path) -> RowRecord:
    if before is None or any(row.cells[seed] != before.cells[seed] for seed in row.cells.keys() & before.cells.keys()):
        return row
    requested = {measured_by(name) for name in row.stages}
    records = readable_cells(out, row.cells.values())
    done = {stage.name for record in records for stage in record.stages if stage.status == "done"}
    kept = (name for name in before.stages if measured_by(name) not in requested and name in done)
    return replace(row, stages=(*row.stages, *kept))


def measured_by(stage: str) -> str:
    """Protocol and data set of a stage, by its name: without the digest of its options."""
    return stage.rpartition("-")[0]


def _is_seed(text: str) -> bool:
    return text.isdecimal() and len(text) < 20  # int() refuses thousands of digits


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _read(root: Path, name: str) -> dict[str, Any] | None:
    """A record without its schema; None where there is none."""
    try:
        document = json.loads(read_below(root, name).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        path = root / name
        raise GridError(f"cannot read {path}: {error}; `tvts-bench ablate` makes it anew once it is deleted") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise GridError(f"{root / name} was written by another version of tvts-bench; give another --out")
    return document
