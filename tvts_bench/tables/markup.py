"""A table as Markdown, and as LaTeX for booktabs, laid out as in the paper with its notes below it."""

import re
from itertools import groupby

from tvts_bench.printable import in_markdown, printable
from tvts_bench.tables.layout import Heading, TableLayout, Text

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "`": r"\textasciigrave{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def as_markdown(layout: TableLayout) -> str:
    """Title, table, notes."""
    headings = [_markdown_heading(heading.text, heading.group) for heading in layout.headings]
    rules = ["---:" if heading.numbers else "---" for heading in layout.headings]
    lines = [f"**{in_markdown(layout.title)}**", "", _markdown_row(headings), _markdown_row(rules)]
    for line in layout.lines:
        if line.begins and line.group:
            lines.append(_markdown_row([f"*{in_markdown(line.group)}*", *([""] * (len(headings) - 1))]))
        lines.append(_markdown_row([_markdown_cell(text) for text in line.texts]))
    return "\n".join([*lines, "", *(f"- {in_markdown(note)}" for note in layout.notes)]) + "\n"


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _markdown_heading(text: str, group: str) -> str:
    return f"{in_markdown(text)}<br>{in_markdown(group)}" if group else in_markdown(text)


def _markdown_cell(text: Text) -> str:
    value = in_markdown(text.text)
    value = f"**{value}**" if text.bold else value
    return " ".join(part for part in (value + in_markdown(text.mark), in_markdown(text.extra)) if part)


def as_latex(layout: TableLayout) -> str:
    r"""A `table*` environment; it needs \usepackage{booktabs}, and says so in its first line."""
    columns = "".join("r" if heading.numbers else "l" for heading in layout.headings)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\small",
        rf"\caption{{{_latex_escaped(layout.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_latex_headings(layout.headings),
        r"\midrule",
    ]
    for number, line in enumerate(layout.lines):
        if line.begins and line.group:
            lines += [r"\midrule"] * (number > 0)
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{_latex_escaped(line.group)}}}}} \\")
        lines.append(_latex_row([_latex_cell(text) for text in line.texts]))
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\footnotesize"]
    lines += [rf"{_latex_escaped(note)}\par" for note in layout.notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _latex_headings(headings: tuple[Heading, ...]) -> list[str]:
    """The groups with a rule below each, and the columns' own headings."""
    groups, rules, first = [], [], 1
    for group, members in groupby(heading.group for heading in headings):
        width = len(list(members))
        groups.append(
            rf"\multicolumn{{{width}}}{{c}}{{{_latex_escaped(group)}}}" if group else " & ".join([""] * width)
        )
        if group:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_latex_row(groups), *rules, _latex_row([_latex_escaped(heading.text) for heading in headings])]


def _latex_row(cells: list[str]) -> str:
    row = " & ".join(cells)
    return (f"{{}}{row}" if row.startswith(("[", "*")) else row) + r" \\"  # after "\\" they would be its arguments


def _latex_cell(text: Text) -> str:
    value = rf"\textbf{{{_latex_escaped(text.text)}}}" if text.bold else _latex_escaped(text.text)
    mark = rf"\textsuperscript{{{_latex_escaped(text.mark)}}}" if text.mark else ""
    extra = rf" {{\scriptsize {_latex_escaped(text.extra)}}}" if text.extra else ""
    return f"{value}{mark}{extra}"


def _latex_escaped(text: str) -> str:
    escaped = "".join(SPECIAL.get(character, character) for character in printable(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row are no dash: they begin an option
