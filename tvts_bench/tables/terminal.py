"""A table for the terminal."""

from itertools import groupby

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as RichText

from tvts_bench.printable import printable
from tvts_bench.tables.layout import Line, TableLayout, Text, lay_out
from tvts_bench.tables.model import FilledTable

TEXT_WIDTH = 10  # least of a column of words, where columns have to give way


def terminal_tables(table: FilledTable, width: int) -> list[Table]:
    """One rich table if it fits into `width` characters; else as many as it takes.

    First what was published and what was measured go apart, then what the paper says of each method beside its name is
    left out, then each data set gets a table of its own.
    """
    datasets = dict.fromkeys(column.dataset for column in table.columns)
    published = lay_out(table, measured=False, labels=False)
    ways = (
        lambda: [lay_out(table)],
        lambda: [lay_out(table, measured=False), lay_out(table, published=False)],
        lambda: [published, lay_out(table, published=False, labels=False)],
        lambda: [published, *(lay_out(table, published=False, labels=False, dataset=each) for each in datasets)],
    )
    parts: list[TableLayout] = []
    for way in ways:
        parts = [part for part in way() if part.lines]
        if all(_fits(part, width, len(datasets) > 1) for part in parts):
            break
    return [as_terminal(part, len(datasets) > 1) for part in parts]


def _fits(layout: TableLayout, width: int, name_data: bool) -> bool:
    console = Console(width=1000)
    return Measurement.get(console, console.options, as_terminal(layout, name_data)).maximum <= width


def as_terminal(layout: TableLayout, name_data: bool = True) -> Table:
    """A rich table: what its numbers are above each column (with the data set on request), intervals below numbers."""
    table = Table()
    for number, heading in enumerate(layout.headings):
        parts = (heading.kind, heading.data if name_data else "", heading.text)
        words = RichText("\n".join(map(printable, filter(None, parts))).replace(" (", "\n("))
        if heading.numbers:
            table.add_column(words, justify="right")
        else:
            table.add_column(words, min_width=min(TEXT_WIDTH, _longest(layout, number)))
    for group, members in groupby(layout.lines, key=lambda line: line.group):
        lines: list[Line] = list(members)
        if group:
            table.add_row(RichText(printable(group), style="italic"))
        for number, line in enumerate(lines, start=1):
            table.add_row(*map(_cell, line.texts), end_section=number == len(lines))
    return table


def _cell(text: Text) -> RichText:
    cell = RichText(printable(text.text), style="bold" if text.bold else "")
    cell.append(text.mark, style="not bold")
    if text.extra:
        cell.append("\n" + printable(text.extra).replace(" [", "\n["), style="not bold dim")
    return cell


def _longest(layout: TableLayout, number: int) -> int:
    """Characters of the longest text of a column."""
    return max(len(printable(line.texts[number].text)) for line in layout.lines)
