"""What a reader must know beside a table's numbers, a line each."""

from collections.abc import Iterator, Mapping

from tvts_bench.results import Result
from tvts_bench.results.files import backbone_fact
from tvts_bench.tables.base import Column, TableRow
from tvts_bench.tables.model import ALPHA, Cell, CellResults, FilledTable

Results = Mapping[tuple[str, str], CellResults]
"""(row, column) -> what fills the cell."""


def notes_of(table: FilledTable, results: Results) -> tuple[str, ...]:
    """The lines below a table; those on single cells are put there by the layout."""
    measured = [cell for cell in table.cells.values() if cell.measured]
    return tuple(
        dict.fromkeys(
            (
                *_of_numbers(table, measured),
                *_of_chance(table),
                *_of_tests(table, measured),
                *_of_protocols(table),
                *_of_results(table, results),
            )
        )
    )


def _column_results(table: FilledTable, results: Results, column: Column) -> list[tuple[str, Result]]:
    """Row and result of every number of `column`, in the table's order."""
    rows = [(row.name, results[row.name, column.name]) for row in table.rows if (row.name, column.name) in results]
    return [(name, stored.result) for name, each in rows for _, stored in each.stored]


def _of_numbers(table: FilledTable, measured: list[Cell]) -> Iterator[str]:
    yield "published: as in the paper (TVTS, CVPR 2023); quoted, not measured here"
    if not measured:
        return
    yield f"measured: percent{_of_intervals(measured)}{_of_seeds(measured)}"
    yield from _of_fewer_seeds(table)
    if table.embedded:
        yield (
            "the built-in synthetic set is not the data of the published numbers: the two kinds of columns cannot be"
            " compared, and no difference is shown"
        )


def _of_intervals(measured: list[Cell]) -> str:
    """What the intervals are, and why numbers have none: a mean over seeds needs what each clip scored."""
    bare = sum(cell.measured is not None and cell.measured.low is None for cell in measured)
    why = "what each clip scored is not there beside the results"
    if bare == len(measured):
        return f", without intervals: {why}"
    intervals = ", with 95 % bootstrap intervals over queries or clips"
    return f"{intervals}; none where {why}" if bare else intervals


def _of_seeds(measured: list[Cell]) -> str:
    """Over how many seeds of pretraining the numbers of a grid are; nothing where no grid has made them."""
    runs = [cell.measured.runs for cell in measured if cell.measured]
    counts = [len(each) for each in runs if each and each[0].seed is not None]
    if not counts:
        return ""
    if max(counts) == 1:
        return "; one seed of pretraining: intervals and tests say nothing about another"
    few = "" if min(counts) == max(counts) else f"{min(counts)} to "
    spread = f"; mean of {few}{max(counts)} seeds of pretraining ± their standard deviation"
    narrow = any(cell.measured.low is not None for cell in measured if cell.measured)
    return spread + (", which the intervals leave out" if narrow else "")


def _of_fewer_seeds(table: FilledTable) -> Iterator[str]:
    """The numbers that are of fewer seeds than others of their column, and columns of one seed beside others."""
    seeds = {}
    for column in table.columns:
        cells = {row.name: table.cell(row, column).measured for row in table.rows}
        seeds[column.name] = {name: len(measured.runs) for name, measured in cells.items() if measured}
    most_of_all = max((count for counts in seeds.values() for count in counts.values()), default=0)
    for column in table.columns:
        counts = seeds[column.name]
        most, where = max(counts.values(), default=0), f"{table.measured_on[column.name]} {column.heading}"
        if most == 1 < most_of_all:
            yield f"one seed of pretraining in {where}: intervals and tests there say nothing about another"
        fewer = [f"{name} {count}" for name, count in counts.items() if count < most]
        if fewer:
            yield f"fewer than {most} seeds in {where}: {', '.join(fewer)}"


def _of_chance(table: FilledTable) -> Iterator[str]:
    chances: dict[str, list[str]] = {}
    for column in table.columns:
        for row in table.rows:
            measured = table.cell(row, column).measured
            if measured and measured.chance is not None:
                chances.setdefault(table.measured_on[column.name], []).append(f"{column.heading} {measured.chance:.2f}")
                break
    for words, values in chances.items():
        yield f"chance on {words}: {', '.join(values)}"


def _of_tests(table: FilledTable, measured: list[Cell]) -> Iterator[str]:
    if table.baseline is None:
        return
    tests = " or ".join(dict.fromkeys(cell.versus.test.test for cell in measured if cell.versus))
    if tests:
        yield f"* differs from {table.baseline}: p < {ALPHA:g} ({tests}; not corrected for the number of rows)"
    several = len(set(table.measured_on.values())) > 1
    headings = {c.name: f"{table.measured_on[c.name]} {c.heading}" if several else c.heading for c in table.columns}
    for row in table.rows:
        parts = []
        for column in table.columns:
            versus = table.cell(row, column).versus
            if versus:
                test, heading = versus.test, headings[column.name]
                interval = "" if test.low is None else f" [{test.low:+.1f}, {test.high:+.1f}]"
                shared = _of_shared_seeds(table, row, column)
                parts.append(f"{heading} {test.difference:+.2f}{interval}, p {p_in_words(test.p)}{shared}")
        untested = [headings[column.name] for column in table.columns if _untested(table, row, column)]
        if untested:
            yield (
                f"{row.name} is not tested against {table.baseline} in {', '.join(untested)}: what each clip scored is"
                " not there beside the results, no clip or seed is in both, or all seeds differ by exactly the same"
            )
        if parts:
            yield f"{row.name} less {table.baseline}: {'; '.join(parts)}"


def _of_shared_seeds(table: FilledTable, row: TableRow, column: Column) -> str:
    """Which seeds a difference is of, where it is not that of the two means: only what both have is compared."""
    assert table.baseline is not None
    both = (table.cell(row, column).measured, table.cells[table.baseline, column.name].measured)
    ours, theirs = ({run.seed for run in each.runs} if each else set() for each in both)
    shared = ", ".join(str(seed) for seed in sorted(ours & theirs, key=str))
    return "" if ours == theirs else f" (seed{'s' * (len(ours & theirs) > 1)} {shared} alone)"


def _untested(table: FilledTable, row: TableRow, column: Column) -> bool:
    """Whether both were measured and could not be compared."""
    assert table.baseline is not None
    both = table.cells[table.baseline, column.name].measured and table.cell(row, column).measured
    return bool(both) and row.name != table.baseline and table.cell(row, column).versus is None


def p_in_words(p: float) -> str:
    """A p-value with two digits, "< 0.0001" below that."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def _of_protocols(table: FilledTable) -> Iterator[str]:
    for column in table.columns:
        protocol = table.protocols[column.name]
        if protocol.note and any(table.cell(row, column).measured for row in table.rows):
            yield protocol.note


def _of_results(table: FilledTable, results: Results) -> Iterator[str]:
    """Backbones, then what all results of a column say, then what any of them notes."""
    if table.table.grid is None:
        for column in table.columns:
            for row, result in _column_results(table, results, column):
                yield f"{row}: {backbone_fact(result)}"
    for column in table.columns:
        shown = [result for _, result in _column_results(table, results, column)]
        for result in shown:
            yield from (
                f"{result.run.dataset['name']} {item.split}: {item.used:,} of {item.listed:,} clips used"
                f" (fingerprint {item.fingerprint[:12]})"
                for item in result.coverage
            )
        first = shown[0] if shown else None
        if first:
            yield from (line for line in first.protocol if all(line in result.protocol for result in shown))
            yield from ("read by " + ", ".join(result.provenance["decoders"]) for result in shown)
        for row, result in _column_results(table, results, column):
            yield from (f"{row}: {note}" for note in result.notes)
