"""Grids and cells made by hand, written as `tvts-bench ablate` leaves them."""

from dataclasses import replace
from pathlib import Path

from tests.support.results import stored
from tvts_bench.results import Result
from tvts_bench.results.grids import CellRecord, GridRecord, RowRecord, StageRecord, cell_folder, write_cell, write_grid

RETRIEVAL, PROBE, FINETUNE = (f"{protocol}-ssv2-00000000" for protocol in ("retrieval", "probe", "finetune"))


def cell(
    out: Path,
    key: str,
    seed: int,
    results: dict[str, Result],
    failed: dict[str, str] | None = None,
    not_learned: str | None = None,
) -> str:
    """A cell with results by stage, and stages that failed with their reasons; its key."""
    stages = [] if not_learned is None else [stage("pretrain", status="done", reason=not_learned)]
    for name, result in results.items():
        path = stored(result, cell_folder(out, key) / "results" / name).path
        file = path.relative_to(cell_folder(out, key)).as_posix()
        stages.append(stage(name, status="done", results=(file,)))
    stages += [stage(name, status="failed", reason=reason) for name, reason in (failed or {}).items()]
    write_cell(out, CellRecord(key=key, config={}, seed=seed, stages=tuple(stages)))
    return key


def stage(name: str, **changes: object) -> StageRecord:
    protocol, _, rest = name.partition("-")
    return replace(StageRecord(name=name, protocol=protocol, dataset=rest.partition("-")[0] or None), **changes)  # type: ignore[arg-type]


def grid(
    out: Path,
    rows: dict[str, dict[str, str]],
    stages: tuple[str, ...] = (RETRIEVAL, PROBE, FINETUNE),
    **changes: object,
) -> None:
    """The record of a grid whose rows have cells by seed, and these stages."""
    record = GridRecord(
        grid="sort-modeling",
        title="-",
        table=3,
        baseline="none",
        scale="quick",
        preset="scripted_motion_tiny",
        changes={"steps": "10"},
        protocols=("retrieval", "finetune"),
        datasets={"ssv2": None, "k400": None},
        rows=tuple(
            RowRecord(name=name, title=name, settings={}, cells=cells, stages=stages) for name, cells in rows.items()
        ),
    )
    write_grid(out, replace(record, **changes))  # type: ignore[arg-type]
