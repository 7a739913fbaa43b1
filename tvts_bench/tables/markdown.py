"""A table as Markdown, laid out as in the paper."""

import re

from tvts_bench.tables.layout import Layout, Text


def as_markdown(layout: Layout) -> str:
    """Title, table, notes."""
    headings = [_heading(heading.text, heading.group) for heading in layout.headings]
    rules = ["---:" if heading.numbers else "---" for heading in layout.headings]
    lines = [f"**{_escaped(layout.title)}**", "", _row(headings), _row(rules)]
    for line in layout.lines:
        if line.begins and line.group:
            lines.append(_row([f"*{_escaped(line.group)}*", *([""] * (len(headings) - 1))]))
        lines.append(_row([_cell(text) for text in line.texts]))
    return "\n".join([*lines, "", *(f"- {_escaped(note)}" for note in layout.notes)]) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _heading(text: str, group: str) -> str:
    return f"{_escaped(text)}<br>{_escaped(group)}" if group else _escaped(text)


def _cell(text: Text) -> str:
    value = _escaped(text.text)
    value = f"**{value}**" if text.bold else value
    return " ".join(part for part in (value + _escaped(text.mark), _escaped(text.extra)) if part)


def _escaped(text: str) -> str:
    """Text that Markdown takes as it is. Underscores within words do nothing, and brackets alone make no link."""
    return re.sub(r"([\\`*|<>])", r"\\\1", text)
