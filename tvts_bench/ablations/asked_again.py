"""What a grid keeps of how it was asked for before: evaluations of the same cells that nobody asked for again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tvts_bench.ablations.cells import GridRecord, RowRecord, readable_cells


def with_earlier_results(now: GridRecord, before: GridRecord | None, out: Path) -> GridRecord:
    """`now` with the stages of its rows that were done before, where cells and data are the same ones.

    What the same protocol measured on the same data set with other options gives way to what is asked for now.
    """
    if before is None or before.datasets != now.datasets:
        return now
    earlier = {row.name: row for row in before.rows}
    rows = tuple(_with_earlier(row, earlier.get(row.name), out) for row in now.rows)
    return replace(now, rows=rows)


def _with_earlier(row: RowRecord, before: RowRecord | None, out: Path) -> RowRecord:
    if before is None or not _same_cells(row.cells, before.cells):
        return row
    asked = {_measured(name) for name in row.stages}
    records = readable_cells(out, row.cells.values())
    done = {stage.name for record in records for stage in record.stages if stage.status == "done"}
    kept = (name for name in before.stages if _measured(name) not in asked and name in done)
    return replace(row, stages=(*row.stages, *kept))


def _same_cells(now: Mapping[str, str], before: Mapping[str, str]) -> bool:
    """Whether the seeds that both have are the same cells."""
    return all(now[seed] == before[seed] for seed in now.keys() & before.keys())


def _measured(stage: str) -> str:
    """Protocol and data set of a stage, by its name: without the digest of its options."""
    return stage.rpartition("-")[0]
