"""A table for the terminal."""

from itertools import groupby

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as RichText

from tvts_bench.tables.filled import FilledTable
from tvts_bench.tables.layout import Layout, Line, Text, lay_out


def terminal_tables(table: FilledTable, width: int) -> list[Table]:
    """One rich table if it fits into `width` characters; else one of what was published and one of what was measured.

    Where they still do not fit, what the paper says of each method beside its name is left out.
    """
    parts = [lay_out(table)]
    if not _fits(parts[0], width):
        parts = [lay_out(table, measured=False), lay_out(table, published=False)]
        if not all(_fits(part, width) for part in parts):
            parts = [lay_out(table, measured=False, labels=False), lay_out(table, published=False, labels=False)]
    return [as_terminal(part) for part in parts if part.lines]


def _fits(layout: Layout, width: int) -> bool:
    console = Console(width=1000)
    return Measurement.get(console, console.options, as_terminal(layout)).maximum <= width


def as_terminal(layout: Layout) -> Table:
    """A rich table: group and heading above each column, intervals below their numbers."""
    table = Table()
    for heading in layout.headings:
        several = len({other.data for other in layout.headings if other.kind == heading.kind}) > 1
        above = [heading.kind, heading.data.replace(" (", "\n(") if several else ""]  # of one, the title tells
        table.add_column(
            RichText("\n".join(filter(None, [*above, heading.text]))), justify="right" if heading.numbers else "left"
        )
    for group, members in groupby(layout.lines, key=lambda line: line.group):
        lines: list[Line] = list(members)
        if group:
            table.add_row(RichText(group, style="italic"))
        for number, line in enumerate(lines, start=1):
            table.add_row(*map(_cell, line.texts), end_section=number == len(lines))
    return table


def _cell(text: Text) -> RichText:
    cell = RichText(text.text, style="bold" if text.bold else "")
    cell.append(text.mark, style="not bold")
    if text.extra:
        cell.append(f"\n{text.extra}", style="not bold dim")
    return cell
