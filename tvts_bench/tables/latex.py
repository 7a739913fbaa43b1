"""A table as LaTeX for booktabs, with its notes as a paragraph below it."""

import re
from itertools import groupby

from tvts_bench.printable import printable
from tvts_bench.tables.layout import Heading, Layout, Text

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


def as_latex(layout: Layout) -> str:
    """A `table*` environment; it needs \\usepackage{booktabs}, and says so in its first line."""
    columns = "".join("r" if heading.numbers else "l" for heading in layout.headings)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\small",
        rf"\caption{{{_escaped(layout.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_headings(layout.headings),
        r"\midrule",
    ]
    for number, line in enumerate(layout.lines):
        if line.begins and line.group:
            lines += [r"\midrule"] * (number > 0)
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{_escaped(line.group)}}}}} \\")
        lines.append(_row([_cell(text) for text in line.texts]))
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\footnotesize"]
    lines += [rf"{_escaped(note)}\par" for note in layout.notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _headings(headings: tuple[Heading, ...]) -> list[str]:
    """The groups with a rule below each, and the columns' own headings."""
    groups, rules, first = [], [], 1
    for group, members in groupby(heading.group for heading in headings):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{_escaped(group)}}}" if group else " & ".join([""] * width))
        if group:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_row(groups), *rules, _row([_escaped(heading.text) for heading in headings])]


def _row(cells: list[str]) -> str:
    row = " & ".join(cells)
    return (f"{{}}{row}" if row.startswith(("[", "*")) else row) + r" \\"  # after "\\" they would be its arguments


def _cell(text: Text) -> str:
    value = rf"\textbf{{{_escaped(text.text)}}}" if text.bold else _escaped(text.text)
    mark = rf"\textsuperscript{{{_escaped(text.mark)}}}" if text.mark else ""
    extra = rf" {{\scriptsize {_escaped(text.extra)}}}" if text.extra else ""
    return f"{value}{mark}{extra}"


def _escaped(text: str) -> str:
    escaped = "".join(SPECIAL.get(character, character) for character in printable(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row are no dash: they begin an option
