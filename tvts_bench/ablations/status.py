"""The status of a grid's cells, read from what they leave on disk: for the live table, the summary and estimates."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tvts_bench.ablations.jobs import CellJob, is_done, is_locked
from tvts_bench.regular_file import open_regular
from tvts_bench.results import read_json
from tvts_bench.results.grids import (
    PRETRAIN,
    CellRecord,
    GridError,
    GridRecord,
    RowRecord,
    StageRecord,
    Status,
    cell_folder,
    read_cell,
    readable_cells,
)
from tvts_bench.typed_json import typed

_TAIL = 8192  # bytes at the end of metrics.jsonl: a few records


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """A cell of a grid as it is now."""

    row: str
    seed: int
    key: str
    status: Status
    stage: str | None = None  # the one that runs, failed or is next
    step: int | None = None  # of the pretraining, while that runs
    steps: int | None = None
    seconds: float = 0.0  # of work in the grid's stages so far
    left: float | None = None  # seconds of work; None where nothing is known of it
    reason: str | None = None


def cell_statuses(root: Path, grid: GridRecord) -> tuple[CellStatus, ...]:
    """Every cell of a grid, in its order, seed by seed; a cell of two rows in both.

    One whose record cannot be read has failed, with that for its reason.
    """
    records: dict[str, CellRecord | None] = {}
    damaged: dict[str, str] = {}
    for key in grid.keys:
        try:
            records[key] = read_cell(root, key)
        except GridError as error:
            damaged[key] = str(error)
    costs = stage_seconds(record for record in records.values() if record is not None)
    seeds = sorted({int(seed) for row in grid.rows for seed in row.cells})
    statuses = []
    for seed in seeds:
        for row in (row for row in grid.rows if str(seed) in row.cells):
            key = row.cells[str(seed)]
            if key in damaged:
                statuses.append(CellStatus(row=row.name, seed=seed, key=key, status="failed", reason=damaged[key]))
                continue
            statuses.append(_cell_status(root, key, row, seed, records[key], costs))
    return tuple(statuses)


def stage_seconds(records: Iterable[CellRecord]) -> dict[str, float]:
    """Mean seconds that each stage took in the cells where it is done."""
    taken: dict[str, list[float]] = {}
    for record in records:
        for stage in record.stages:
            if stage.status == "done":
                taken.setdefault(stage.name, []).append(stage.seconds)
    return {name: sum(seconds) / len(seconds) for name, seconds in taken.items()}


def known_seconds(root: Path, keys: Iterable[str]) -> dict[str, float]:
    """Mean seconds of each stage over those of these cells in `root` where it is done, by its name."""
    return stage_seconds(readable_cells(root, keys))


def remaining_seconds(job: CellJob, known: Mapping[str, float]) -> float | None:
    """Seconds of work that are left of a cell; None where a stage of that name is done nowhere yet."""
    record = read_cell(job.out, job.key)
    left = [stage for stage in job.stages if record is None or not is_done(job, stage, record)]
    return _sum([known.get(stage.name) or None for stage in left])


def _cell_status(
    root: Path, key: str, row: RowRecord, seed: int, record: CellRecord | None, costs: Mapping[str, float]
) -> CellStatus:
    if record is None:
        left = _sum([costs.get(stage) for stage in (PRETRAIN, *row.stages)])
        return CellStatus(row=row.name, seed=seed, key=key, status="waiting", left=left)
    folder, own = cell_folder(root, key), record.stages_of(row)
    record = CellRecord(key=key, config={}, seed=seed, stages=tuple(own))
    status, reason = record.status, record.reason
    unknown = [name for name in row.stages if record.stage(name) is None]  # not requested when the cell was last run
    if status == "done" and unknown:
        status = "waiting"
    if status in ("running", "waiting"):
        locked = is_locked(folder)
        reason = None if locked else reason or ("interrupted" if status == "running" else None)
        status = "running" if locked else "waiting"
    now = next((stage for stage in own if stage.status == record.status and stage.status != "done"), None)
    step = steps = None
    left = None
    if status not in ("done", "failed"):
        left = _sum([*(_left(folder, stage, costs) for stage in own), *(costs.get(name) for name in unknown)])
    if now is not None and now.name == PRETRAIN:
        step, steps, _ = pretraining_progress(folder)
    return CellStatus(
        row=row.name,
        seed=seed,
        key=key,
        status=status,
        stage=now.name if now else next(iter(unknown), None) if status == "waiting" else None,
        step=step,
        steps=steps,
        seconds=sum(stage.seconds for stage in own),
        left=left,
        reason=reason,
    )


def _left(folder: Path, stage: StageRecord, costs: Mapping[str, float]) -> float | None:
    """Seconds of work that are left of a stage."""
    if stage.status in ("done", "failed"):
        return 0.0
    if stage.name == PRETRAIN:
        _, _, left = pretraining_progress(folder)
        if left is not None:
            return left
    return costs.get(stage.name)


def pretraining_progress(folder: Path) -> tuple[int | None, int | None, float | None]:
    """Steps done, steps in all, and seconds left of the pretraining in a cell's folder; None where it is not known."""
    status = _status(folder / "run" / "status.json")
    step, steps = status.get("step"), status.get("steps")
    rate: float | None = None
    for line in _last_lines(folder / "run" / "metrics.jsonl"):
        step = max(step or 0, line.get("step", 0))
        speed, clips = line.get("clips_per_second"), line.get("clips")
        if speed and clips:
            rate = speed / clips
    if step is None or steps is None:
        return step, steps, None
    return step, steps, None if rate is None else (steps - step) / rate


class _Status(TypedDict, total=False):
    """What is looked at of status.json and of the records of metrics.jsonl."""

    step: int
    steps: int
    clips: float | None
    clips_per_second: float | None


def _status(path: Path) -> _Status:
    try:
        return typed(_Status, read_json(path))
    except (OSError, ValueError, RecursionError):
        return {}


def _last_lines(path: Path) -> list[_Status]:
    """The last records of metrics.jsonl, oldest first; a line that is cut off or is none is left out."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            records.append(typed(_Status, json.loads(line)))
    return records


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
