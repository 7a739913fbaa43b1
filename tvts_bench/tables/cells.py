"""One cell of a table from its results."""

import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.metrics.significance import bootstrap_interval
from tvts_bench.results.index import StoredResult
from tvts_bench.results.per_sample import Outcomes, read_outcomes
from tvts_bench.tables.base import Column, Protocol, TableRow
from tvts_bench.tables.model import Cell, Measured, Part, RunOf, Status

Seeded = tuple[int | None, StoredResult]
"""A seed of pretraining (None where the backbone is given), and a result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CellResults:
    """What fills a cell: results, or why there is none."""

    stored: tuple[Seeded, ...] = ()  # one per seed, in the order of the seeds
    status: Status = "measured"
    reason: str | None = None  # one sentence: why there is no result, or not of every seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """A cell, and what is needed to compare it with others."""

    cell: Cell
    by_seed: Mapping[int | None, float] = field(default_factory=dict)  # percent
    outcomes: Mapping[int | None, Outcomes] = field(default_factory=dict)  # of each query or clip, where they were kept


def make_cell(row: TableRow, column: Column, protocol: Protocol, results: CellResults | None, out: Path) -> Scored:
    """The cell of `row` and `column`, not compared with anything yet.

    Args:
        row: with the published number.
        column: which number.
        protocol: which the results were measured by.
        results: None where nothing was requested.
        out: folder of all results, which files are named from.

    Returns:
        With the outcomes of each seed, where they were kept.
    """
    published = row.published.get(column.name)
    if results is None or not results.stored:
        status, reason = (results.status, results.reason) if results else ("", None)
        return Scored(cell=Cell(row=row.name, column=column.name, published=published, status=status, reason=reason))
    measured, outcomes = _measured(column, protocol, results.stored, out)
    difference = None
    if isinstance(published, float) and protocol.like_paper and _is_official(column, results.stored):
        difference = measured.value - published
    cell = Cell(
        row=row.name,
        column=column.name,
        published=published,
        status="measured",
        reason=results.reason,
        measured=measured,
        difference=difference,
    )
    kept = {run.seed: each for run, each in zip(measured.runs, outcomes, strict=True) if each is not None}
    return Scored(cell=cell, by_seed={run.seed: run.value for run in measured.runs}, outcomes=kept)


def _measured(
    column: Column, protocol: Protocol, stored: Sequence[Seeded], out: Path
) -> tuple[Measured, list[Outcomes | None]]:
    """The number, and what each query or clip scored in each of its results."""
    metrics = [each.result.metric(column.metric, protocol.condition) for _, each in stored]
    outcomes = [read_outcomes(each, column.metric, protocol.condition) for _, each in stored]
    low, high = metrics[0].low, metrics[0].high
    if len(metrics) > 1:  # each clip's outcome is averaged over the seeds first
        means = _mean_outcomes(outcomes)
        interval = bootstrap_interval(list(means.values())) if means else None
        low, high = (100 * interval.low, 100 * interval.high) if interval else (None, None)
    values = [metric.value for metric in metrics]
    runs = tuple(
        RunOf(
            key=each.result.run.key,
            file=_relative(each.path, out),
            seed=seed,
            value=value,
            backbone=each.result.run.backbone,
            dataset=each.result.run.dataset,
        )
        for (seed, each), value in zip(stored, values, strict=True)
    )
    coverage = [[part_of(item) for item in each.result.coverage] for _, each in stored]
    measured = Measured(
        value=float(np.mean(values)),
        low=low,
        high=high,
        clips=min(parts[0].used for parts in coverage),
        chance=metrics[0].chance,
        parts=tuple(min(parts, key=lambda part: part.percent) for parts in zip(*coverage, strict=True)),
        runs=runs,
        spread=statistics.stdev(values) if len(values) > 1 else None,
    )
    return measured, outcomes


def part_of(coverage: SplitCoverage) -> Part:
    """What a result says of a split, without the names of the clips."""
    return Part(
        split=coverage.split,
        used=coverage.used,
        listed=coverage.listed,
        official=coverage.official[0] if coverage.official else None,
        complete=coverage.complete,
    )


def _is_official(column: Column, stored: Sequence[Seeded]) -> bool:
    """Whether everything was measured on all of the public data set itself, training split included."""
    results = [each.result for _, each in stored]
    names = {re.sub(r"-fold\d+$", "", str(result.run.dataset["name"])) for result in results}
    parts = [item for result in results for item in result.coverage]
    return names == {column.dataset} and all(item.complete and item.official for item in parts)


def _mean_outcomes(by_seed: Sequence[Outcomes | None]) -> Outcomes | None:
    """Of each clip, the mean over the seeds; None unless all seeds kept theirs, of the same clips."""
    first = by_seed[0]
    if first is None or any(each is None or each.keys() != first.keys() for each in by_seed):
        return None
    return {clip: float(np.mean([each[clip] for each in by_seed if each is not None])) for clip in sorted(first)}


def _relative(path: Path, out: Path) -> str:
    """`path` from `out` on, also where it lies beside it: as from any folder that a command may be started in."""
    if path.is_relative_to(out):
        return path.relative_to(out).as_posix()
    return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()
