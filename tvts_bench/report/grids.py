"""Grids as pictures: one line per row of the grid, its mean over the seeds with every seed beside it."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tvts_bench.metrics.measured import FORWARD, Metric
from tvts_bench.report.charts import Chart, Mark, interval_chart
from tvts_bench.report.folder import GridContents
from tvts_bench.results.grids import RowRecord, StageRecord
from tvts_bench.results.index import StoredResult, comparability_key, made_by, most_common

SHOWN = ("R@1", "R@5", "top-1")  # metrics; the others are in the results
PROTOCOLS = {"retrieval": "zero-shot", "probe": "probe", "finetune": "fine-tuned"}


@dataclass(frozen=True, kw_only=True)
class GridView:
    """A grid of the page."""

    name: str
    title: str
    how: str  # its scale and settings in words
    charts: tuple[Chart, ...]
    outcomes: tuple[str, ...]  # cells that failed or are left, a sentence each


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What one picture shows."""

    protocol: str
    dataset: str
    condition: str
    metric: str

    @property
    def title(self) -> str:
        """In words."""
        condition = "" if self.condition in (FORWARD, "fine-tuned") else f" ({self.condition})"
        return f"{PROTOCOLS.get(self.protocol, self.protocol)} {self.metric}{condition}, {self.dataset}"


def grid_view(grid: GridContents, name: str) -> GridView:
    """The grid's results so far, and what failed or is left."""
    record = grid.record
    by_row = {row.name: _results(grid, row) for row in record.rows}
    kinds = dict.fromkeys(kind for each in by_row.values() for kind in each)
    mixed = [sentence for kind in kinds for sentence in _drop_incomparable(by_row, kind)]
    data = " on the built-in synthetic set" if not any(record.datasets.values()) else ""
    changes = "".join(f" {key}={value}" for key, value in sorted(record.changes.items()))
    return GridView(
        name=grid.name,
        title=record.title,
        how=f"{record.scale}: tvts-pretrain {record.preset}{changes}{data}; baseline {_title(grid)}",
        charts=tuple(_chart(grid, by_row, kind, f"{name}-{number}") for number, kind in enumerate(kinds)),
        outcomes=(*_outcomes(grid), *mixed),
    )


def _title(grid: GridContents) -> str:
    return next((row.title for row in grid.record.rows if row.name == grid.record.baseline), grid.record.baseline)


def table_grid_view(document: Mapping[str, Any], name: str) -> GridView:
    """The measured columns of a table that a grid fills: mean, interval and seeds of each row."""
    charts = []
    cells = {(cell["row"], cell["column"]): cell for cell in document["cells"]}
    for number, column in enumerate(document["columns"]):
        marks = [_of_cell(row["name"], cells[row["name"], column["name"]]) for row in document["rows"]]
        shown = [mark for mark in marks if mark.value is not None or mark.missing]
        chances = [
            cell["measured"]["chance"]
            for cell in cells.values()
            if cell["column"] == column["name"] and cell["measured"]
        ]
        title = f"{column['heading']}, {column['measured_on']}"
        if shown:
            charts.append(interval_chart(f"{name}-{number}", title, shown, chance=next(iter(chances), None)))
    return GridView(name=document["table"], title=document["title"], how="", charts=tuple(charts), outcomes=())


def _of_cell(row: str, cell: Mapping[str, Any]) -> Mark:
    measured = cell["measured"]
    if measured is None:
        return Mark(label=row, missing=cell["status"])
    return Mark(
        label=row,
        value=measured["value"],
        low=measured["low"],
        high=measured["high"],
        each=tuple(run["value"] for run in measured["runs"]),
        runs=tuple(run["key"] for run in measured["runs"]),
    )


Seeds = dict[int, tuple[Metric, StoredResult]]
"""Seed of pretraining -> the number, and the result it is of."""


def _results(grid: GridContents, row: RowRecord) -> dict[_Kind, Seeds]:
    """For each kind of number, what every seed that is done measured."""
    seeds: dict[_Kind, Seeds] = {}
    for seed, key in sorted(row.cells.items(), key=lambda pair: int(pair[0])):
        for stage, stored in _done(grid, row, key):
            for metric in stored.result.metrics:
                if metric.name in SHOWN and (stage.protocol != "retrieval" or metric.condition == FORWARD):
                    kind = _Kind(
                        protocol=stage.protocol,
                        dataset=stage.dataset or "",
                        condition=metric.condition,
                        metric=metric.name,
                    )
                    seeds.setdefault(kind, {}).setdefault(int(seed), (metric, stored))  # as tables: the first
    return seeds


def _done(grid: GridContents, row: RowRecord, key: str) -> Iterator[tuple[StageRecord, StoredResult]]:
    """The row's stages of a cell that are done, with their results."""
    for stage in grid.cells[key].stages if key in grid.cells else ():
        if stage.name in row.stages and stage.status == "done":
            yield from ((stage, stored) for stored in grid.results[key].get(stage.name, ()))


def _comparability(stored: StoredResult) -> str:
    """How a number was measured, the version of what measured it among it."""
    return f"{made_by(stored.result)} {comparability_key(stored)}"


def _drop_incomparable(by_row: Mapping[str, dict[_Kind, Seeds]], kind: _Kind) -> Iterator[str]:
    """Takes out of the rows what was measured otherwise than most of the number's results, and says so."""
    rows = {name: each[kind] for name, each in by_row.items() if kind in each}
    common = most_common(_comparability(stored) for seeds in rows.values() for _, stored in seeds.values())
    for name, seeds in rows.items():
        others = [seed for seed, (_, stored) in seeds.items() if _comparability(stored) != common]
        for seed in others:
            del seeds[seed]
        if others:
            yield (
                f"left out {name}, seed {', '.join(map(str, others))}, of {kind.title}: measured by another version, on"
                " other clips, in another precision or with other settings than those shown"
            )


def _chart(grid: GridContents, by_row: Mapping[str, Mapping[_Kind, Seeds]], kind: _Kind, name: str) -> Chart:
    marks, chance = [], None
    for row in grid.record.rows:
        seeds = by_row[row.name].get(kind, {})
        marks.append(_mark(row, seeds) if seeds else Mark(label=row.title, missing=_why(grid, row)))
        chance = next((metric.chance for metric, _ in seeds.values()), chance)
    return interval_chart(name, kind.title, marks, chance=chance)


def _mark(row: RowRecord, seeds: Seeds) -> Mark:
    """The mean over the seeds. An interval over queries belongs to one result: shown where there is a single seed."""
    metrics = [metric for metric, _ in seeds.values()]
    single = metrics[0] if len(metrics) == 1 else None
    return Mark(
        label=row.title,
        value=statistics.fmean(metric.value for metric in metrics),
        low=single.low if single else None,
        high=single.high if single else None,
        each=tuple(metric.value for metric in metrics),
        runs=tuple(dict.fromkeys(stored.result.run.key for _, stored in seeds.values())),
    )


def _why(grid: GridContents, row: RowRecord) -> str:
    """Why a row has no number."""
    cells = [grid.cells[key] for key in row.cells.values() if key in grid.cells]
    return "failed" if any(cell.status == "failed" for cell in cells) else "not measured"


def _outcomes(grid: GridContents) -> Iterator[str]:
    for row in grid.record.rows:
        for seed, key in row.cells.items():
            cell = grid.cells.get(key)
            if cell is None:
                how = "its record cannot be read, see above" if key in grid.damaged else "not begun"
                yield f"{row.title}, seed {seed}: {how}"
                continue
            stages = cell.stages_of(row)
            for stage in stages:
                if stage.status == "failed":
                    yield f"{row.title}, seed {seed}: {stage.name} failed: {stage.reason or 'no reason was recorded'}"
            left = {*row.stages} - {stage.name for stage in stages if stage.status in ("done", "failed")}
            if left and not any(stage.status == "failed" for stage in stages):
                yield f"{row.title}, seed {seed}: {len(left)} of {len(row.stages)} evaluations are left"
