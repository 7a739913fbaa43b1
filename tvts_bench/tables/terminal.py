"""A table for the terminal."""

from itertools import groupby

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as RichText

from tvts_bench.tables.layout import Layout, Line, Text


def fits(layout: Layout, width: int) -> bool:
    """Whether the table is no wider than `width` characters without breaking a word."""
    return Measurement.get(Console(width=1000), Console(width=1000).options, as_terminal(layout)).maximum <= width


def as_terminal(layout: Layout) -> Table:
    """A rich table: group and heading above each column, intervals below their numbers."""
    table = Table(pad_edge=False)
    for heading in layout.headings:
        above = heading.group.replace(", ", "\n", 1).replace(" (", "\n(")
        table.add_column(RichText(f"{above}\n{heading.text}".strip()), justify="right" if heading.numbers else "left")
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
        cell.append(
            f"\n{text.extra.strip('[]')}" if text.extra.startswith("[") else f"\n{text.extra}", style="not bold dim"
        )
    return cell
