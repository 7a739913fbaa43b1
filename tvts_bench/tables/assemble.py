"""From results to a filled table: cells, the best of each column, tests against the baseline row, title and notes."""

import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.metrics.significance import (
    MIN_PAIRS_OF_SEEDS,
    PairedTest,
    bootstrap_interval,
    compare_outcomes,
    compare_seeds,
)
from tvts_bench.results.per_sample import Outcomes, read_outcomes
from tvts_bench.tables.base import EMBEDDED, TITLES, Column, Protocol, Table, TableRow, dataset_in_words
from tvts_bench.tables.model import Cell, CellResults, FilledTable, Measured, Part, RunOf, Seeded, Versus
from tvts_bench.tables.notes import notes_of

Key = tuple[str, str]
"""Names of a row and a column."""


@dataclass(frozen=True, kw_only=True)
class TableResults:
    """All that fills a table."""

    cells: Mapping[Key, CellResults]
    protocols: Mapping[str, Protocol] = field(default_factory=dict)  # column -> protocol, where it is not the first one
    embedded: bool  # whether the built-in synthetic set (ScriptedMotion) stands in for the data sets
    baseline: str | None = None  # row to test against; None: as the table says
    remarks: tuple[str, ...] = ()  # notes of whoever read or measured them


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """A cell, and what is needed to compare it with others."""

    cell: Cell
    by_seed: Mapping[int | None, float] = field(default_factory=dict)  # percent
    outcomes: Mapping[int | None, Outcomes] = field(default_factory=dict)  # of each query or clip, where they were kept


def assemble(table: Table, results: TableResults, out: Path) -> FilledTable:
    """The table filled with results.

    Args:
        table: the declaration.
        results: by row and column.
        out: folder of all results, which files are named from.

    Returns:
        With intervals, tests against the baseline row, and notes.
    """
    by_cell = results.cells
    rows = (*table.rows, *(table.embedded_rows if results.embedded else ()))
    columns = tuple(c for c in table.columns if c.published or any((row.name, c.name) in by_cell for row in rows))
    protocols = {column.name: results.protocols.get(column.name, column.protocols[0]) for column in columns}
    scored = {
        (row.name, column.name): make_cell(
            row, column, protocols[column.name], by_cell.get((row.name, column.name)), out
        )
        for row in rows
        for column in columns
    }
    baseline = _baseline(table, rows, scored, results.baseline)
    cells = {key: _compared(key, each, scored, baseline) for key, each in scored.items()}
    for column in columns:
        _mark_best(cells, column.name)
    measured_on = _measured_on(columns, cells, results.embedded)
    filled = FilledTable(
        table=table,
        title=_title(table, cells, measured_on, results.embedded),
        columns=columns,
        protocols=protocols,
        measured_on=measured_on,
        rows=rows,
        cells=cells,
        baseline=baseline,
        embedded=results.embedded,
    )
    missing = (
        (f"nothing is tested: the row {results.baseline} has no number",)
        if results.baseline and baseline is None
        else ()
    )
    return replace(filled, notes=(*notes_of(filled, by_cell), *missing, *results.remarks))


def _baseline(
    table: Table, rows: tuple[TableRow, ...], scored: Mapping[Key, Scored], requested: str | None
) -> str | None:
    """The row to test against; None where it has no number."""
    measured = {row for (row, _), each in scored.items() if each.cell.measured}
    wanted = (requested,) if requested else table.baselines
    return next((name for name in wanted if name in measured), None)


def _compared(key: Key, scored: Scored, all_scored: Mapping[Key, Scored], baseline: str | None) -> Cell:
    row, column = key
    if baseline is None or row == baseline or not scored.cell.measured:
        return scored.cell
    test = _test(scored, all_scored[baseline, column])
    return replace(scored.cell, versus=Versus(baseline=baseline, test=test)) if test else scored.cell


def _test(scored: Scored, baseline: Scored) -> PairedTest | None:
    """Over the seeds that both have, where there are several; over the clips of the one that both have, else."""
    seeds = [seed for seed in scored.by_seed if seed in baseline.by_seed]
    if len(seeds) >= MIN_PAIRS_OF_SEEDS:
        return compare_seeds([scored.by_seed[seed] for seed in seeds], [baseline.by_seed[seed] for seed in seeds])
    if not seeds or seeds[0] not in scored.outcomes or seeds[0] not in baseline.outcomes:
        return None
    ours, theirs = scored.outcomes[seeds[0]], baseline.outcomes[seeds[0]]
    clips = [clip for clip in ours if clip in theirs]
    if not clips:
        return None
    return _in_percent(compare_outcomes([ours[clip] for clip in clips], [theirs[clip] for clip in clips]))


def _in_percent(test: PairedTest) -> PairedTest:
    low, high = (None if bound is None else 100 * bound for bound in (test.low, test.high))
    return replace(test, difference=100 * test.difference, low=low, high=high)


def _mark_best(cells: dict[Key, Cell], column: str) -> None:
    """The highest of each kind of number, all of them where several are; a single number is not marked."""
    keys = [key for key in cells if key[1] == column]
    measured = {key: cell.measured.value for key in keys if (cell := cells[key]).measured}
    published = {key: cell.published for key in keys if isinstance((cell := cells[key]).published, float)}
    for key, value in measured.items():
        cells[key] = replace(cells[key], best=len(measured) > 1 and value == max(measured.values()))
    for key, number in published.items():
        cells[key] = replace(cells[key], best_published=len(published) > 1 and number == max(published.values()))


def _measured_on(columns: tuple[Column, ...], cells: Mapping[Key, Cell], embedded: bool) -> dict[str, str]:
    """Each column's data in words; a column without numbers has that of the others of its data set."""
    words: dict[str, str] = {}
    for column in columns:
        measured = [cell.measured for (_, name), cell in cells.items() if name == column.name and cell.measured]
        if measured:
            words[column.name] = _data_of(measured)
    by_dataset = {column.dataset: words[column.name] for column in columns if column.name in words}
    for column in columns:
        unmeasured = dataset_in_words(f"{EMBEDDED}-{column.dataset}" if embedded else column.dataset)
        words.setdefault(column.name, by_dataset.get(column.dataset, unmeasured))
    return words


def _data_of(measured: Sequence[Measured]) -> str:
    """What numbers are of, in words: a part of a set never has the name of the whole."""
    names = {str(run.dataset["name"]) for each in measured for run in each.runs}
    words = " and ".join(sorted(map(dataset_in_words, names)))
    return words if all(each.complete for each in measured) else f"part of {words}"


def _title(table: Table, cells: Mapping[Key, Cell], measured_on: Mapping[str, str], embedded: bool) -> str:
    """Number and subject, and which data the measured numbers are from."""
    number = re.sub(r"^table", "Table ", table.name)
    on = list(dict.fromkeys(words for name, words in measured_on.items() if _has_number(cells, name)))
    if not on:
        return f"{number}: {table.title}. Published numbers; nothing was measured"
    real = " and ".join(TITLES.get(name, name) for name in table.datasets)
    instead = f", not on {real}" if embedded else ""
    where = f"the built-in synthetic set {TITLES[EMBEDDED]}" if embedded else " and ".join(on)
    return f"{number}: {table.title}. Measured on {where}{instead}"


def _has_number(cells: Mapping[Key, Cell], column: str) -> bool:
    return any(name == column and cell.measured for (_, name), cell in cells.items())


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
