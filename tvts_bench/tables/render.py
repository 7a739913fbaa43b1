"""A filled table in every format: Markdown, LaTeX for booktabs, tidy CSV, JSON, and for the terminal.

Equal results make equal bytes: no time, no machine, no order of running is in the files.
"""

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as RichText

from tvts_bench.printable import csv_text, in_markdown, printable
from tvts_bench.results import write_atomically
from tvts_bench.tables.layout import NUMBERS, Document, TableLayout, Text, lay_out
from tvts_bench.tables.model import FOLDER

COLUMNS = (
    *("table", "group", "row", "column", "dataset", "measured_on", "protocol", "metric"),
    *("published", "status", "value", "low", "high", "best", "sd_of_seeds", "seeds", "n", "chance"),
    *("coverage", "difference_to_published"),
    *("baseline", "difference_to_baseline", "difference_low", "difference_high", "p", "test", "pairs"),
    *("runs", "reason"),
)
"""Of the CSV. Percent unless noted otherwise. `coverage`: percent of each split; `runs`: keys, in the order of
`seeds`."""
TEXT_WIDTH = 10  # least of a column of words on a terminal, where columns have to give way
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "`": r"\textasciigrave{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_table(document: Document, out: Path) -> Path:
    """Write all files into OUT/tables, each whole or not at all; the JSON last. The Markdown file.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    stem, layout = out / FOLDER / str(document["table"]), lay_out(document)
    contents = {".md": as_markdown(layout), ".csv": as_tidy_csv(document), ".tex": as_latex(layout)}
    for suffix, text in {**contents, ".json": as_json(document)}.items():
        write_atomically(stem.with_suffix(suffix), text)
    return stem.with_suffix(".md")


def as_json(document: Document) -> str:
    """Everything, as text."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_tidy_csv(document: Document) -> str:
    """All cells, row by row."""
    rows = {row["name"]: row for row in document["rows"]}
    columns = {column["name"]: column for column in document["columns"]}
    cells = (
        {"table": document["table"], **_csv_fields(cell, rows[cell["row"]], columns[cell["column"]])}
        for cell in document["cells"]
    )
    return csv_text([COLUMNS, *([fields.get(name) for name in COLUMNS] for fields in cells)])


def _csv_fields(cell: Document, row: Document, column: Document) -> dict[str, Any]:
    fields = {name: cell[name] for name in ("row", "column", "published", "status", "reason")}
    fields |= {"group": row["group"], "dataset": column["dataset"], "metric": column["metric"]}
    fields |= {"protocol": column["protocol"]["name"], "difference_to_published": cell["difference"]}
    if measured := cell["measured"]:
        runs = measured["runs"]
        fields |= {name: measured[name] for name in ("value", "low", "high", "chance")}
        fields |= {"measured_on": column["measured_on"], "best": int(cell["best"]), "n": measured["clips"]}
        fields |= {"sd_of_seeds": measured["spread"], "runs": " ".join(run["key"] for run in runs)}
        fields["seeds"] = " ".join(str(run["seed"]) for run in runs if run["seed"] is not None)
        fields["coverage"] = "; ".join(f"{part['split']} {part['percent']:.6g}" for part in measured["parts"])
    if versus := cell["versus"]:
        fields |= {name: versus[name] for name in ("baseline", "p", "test", "pairs")}
        fields |= {"difference_to_baseline": versus["difference"]}
        fields |= {"difference_low": versus["low"], "difference_high": versus["high"]}
    return fields


def as_markdown(layout: TableLayout) -> str:
    """Title, table, notes."""
    headings = [_markdown_heading(heading.text, heading.group) for heading in layout.headings]
    rules = ["---:" if heading.is_number else "---" for heading in layout.headings]
    lines = [f"**{in_markdown(layout.title)}**", "", _markdown_row(headings), _markdown_row(rules)]
    for line in layout.lines:
        if line.begins:
            lines.append(_markdown_row([f"*{in_markdown(line.group)}*", *([""] * (len(headings) - 1))]))
        lines.append(_markdown_row([_markdown_cell(text) for text in line.texts]))
    return "\n".join([*lines, "", *(f"- {in_markdown(note)}" for note in (*layout.reasons, *layout.notes))]) + "\n"


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
    columns = "".join("r" if heading.is_number else "l" for heading in layout.headings)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\small",
        rf"\caption{{{_latex_escaped(layout.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_latex_headings(layout),
        r"\midrule",
    ]
    for number, line in enumerate(layout.lines):
        if line.begins:
            lines += [r"\midrule"] * (number > 0)
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{_latex_escaped(line.group)}}}}} \\")
        lines.append(_latex_row([_latex_cell(text) for text in line.texts]))
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\footnotesize"]
    lines += [rf"{_latex_escaped(note)}\par" for note in (*layout.reasons, *layout.notes)]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _latex_headings(layout: TableLayout) -> list[str]:
    """The groups with a rule below each, and the columns' own headings."""
    groups, rules, first = [], [], 1
    for heading, width in layout.spans:
        words = _latex_escaped(heading.group)
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{words}}}" if words else "")
        rules += [rf"\cmidrule(lr){{{first}-{first + width - 1}}}"] * bool(words)
        first += width
    return [_latex_row(groups), *rules, _latex_row([_latex_escaped(heading.text) for heading in layout.headings])]


def _latex_row(cells: list[str]) -> str:
    row = " & ".join(cells)
    return (f"{{}}{row}" if row.startswith(("[", "*")) else row) + r" \\"  # after "\\" they would be its arguments


def _latex_cell(text: Text) -> str:
    value = rf"\textbf{{{_latex_escaped(text.text)}}}" if text.bold else _latex_escaped(text.text)
    mark = rf"\textsuperscript{{{_latex_escaped(text.mark)}}}" if text.mark else ""
    extra = rf" {{\scriptsize {_latex_escaped(text.extra)}}}" if text.extra else ""
    return f"{value}{mark}{extra}"


def _latex_escaped(text: str) -> str:
    escaped = "".join(LATEX.get(character, character) for character in printable(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row are no dash: they begin an option


def terminal_tables(document: Document, width: int) -> list[Table]:
    """One rich table if it fits into `width` characters; else as many as it takes.

    First what was published and what was measured go apart, then what the paper says of each method beside its name is
    left out, then each data set gets a table of its own.
    """
    datasets = dict.fromkeys(column["dataset"] for column in document["columns"])
    published = lay_out(document, measured=False, labels=False)
    ways = (
        lambda: [lay_out(document)],
        lambda: [lay_out(document, measured=False), lay_out(document, published=False)],
        lambda: [published, lay_out(document, published=False, labels=False)],
        lambda: [published, *(lay_out(document, published=False, labels=False, dataset=each) for each in datasets)],
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
        parts = (NUMBERS.get(heading.kind, ""), heading.data if name_data else "", heading.text)
        words = RichText("\n".join(map(printable, filter(None, parts))).replace(" (", "\n("))
        if heading.is_number:
            table.add_column(words, justify="right")
        else:
            table.add_column(words, min_width=min(TEXT_WIDTH, _longest(layout, number)))
    for group, members in groupby(layout.lines, key=lambda line: line.group):
        lines = list(members)
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
