"""From results to a filled table: cells, the best of each column, tests against the baseline row, title and notes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tvts_bench.metrics.significance import MIN_PAIRS_OF_SEEDS, PairedTest, compare_outcomes, compare_seeds
from tvts_bench.tables.base import EMBEDDED, TITLES, Column, Protocol, Table, TableRow, dataset_in_words
from tvts_bench.tables.cells import CellResults, Scored, make_cell
from tvts_bench.tables.model import Cell, FilledTable, Measured, Versus
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
    where = f"the embedded world {TITLES[EMBEDDED]}" if embedded else " and ".join(on)
    return f"{number}: {table.title}. Measured on {where}{instead}"


def _has_number(cells: Mapping[Key, Cell], column: str) -> bool:
    return any(name == column and cell.measured for (_, name), cell in cells.items())
