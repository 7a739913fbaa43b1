"""A table as Markdown, laid out as in the paper."""

from tvts_bench.printable import in_markdown
from tvts_bench.tables.layout import Layout, Text


def as_markdown(layout: Layout) -> str:
    """Title, table, notes."""
    headings = [_heading(heading.text, heading.group) for heading in layout.headings]
    rules = ["---:" if heading.numbers else "---" for heading in layout.headings]
    lines = [f"**{in_markdown(layout.title)}**", "", _row(headings), _row(rules)]
    for line in layout.lines:
        if line.begins and line.group:
            lines.append(_row([f"*{in_markdown(line.group)}*", *([""] * (len(headings) - 1))]))
        lines.append(_row([_cell(text) for text in line.texts]))
    return "\n".join([*lines, "", *(f"- {in_markdown(note)}" for note in layout.notes)]) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _heading(text: str, group: str) -> str:
    return f"{in_markdown(text)}<br>{in_markdown(group)}" if group else in_markdown(text)


def _cell(text: Text) -> str:
    value = in_markdown(text.text)
    value = f"**{value}**" if text.bold else value
    return " ".join(part for part in (value + in_markdown(text.mark), in_markdown(text.extra)) if part)
