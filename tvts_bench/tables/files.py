"""The files of a filled table: Markdown, LaTeX, tidy CSV, and JSON with everything.

Equal results make equal bytes: no time, no machine, no order of running is in them.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tvts_bench.csv_files import csv_text
from tvts_bench.provenance import canonical
from tvts_bench.results import write_atomically
from tvts_bench.tables.base import Column, TableRow
from tvts_bench.tables.layout import lay_out
from tvts_bench.tables.markup import as_latex, as_markdown
from tvts_bench.tables.model import Cell, FilledTable

FOLDER = "tables"  # under the folder of all results
SCHEMA = 1  # of the JSON document; raised when a field changes its meaning
COLUMNS = (
    *("table", "group", "row", "column", "dataset", "measured_on", "protocol", "metric"),
    *("published", "status", "value", "low", "high", "best", "sd_of_seeds", "seeds", "n", "chance"),
    *("coverage", "difference_to_published"),
    *("baseline", "difference_to_baseline", "difference_low", "difference_high", "p", "test", "pairs"),
    *("runs", "reason"),
)
"""Percent unless noted otherwise. `coverage`: percent of each split; `runs`: keys, in the order of `seeds`."""


@dataclass(frozen=True, kw_only=True)
class TableFiles:
    """Where a table was written."""

    markdown: Path
    csv: Path
    latex: Path
    json: Path


def write_table(table: FilledTable, out: Path) -> TableFiles:
    """Write all files into OUT/tables, each whole or not at all; the JSON last.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    stem, layout = out / FOLDER / table.table.name, lay_out(table)
    files = TableFiles(
        markdown=stem.with_suffix(".md"),
        csv=stem.with_suffix(".csv"),
        latex=stem.with_suffix(".tex"),
        json=stem.with_suffix(".json"),
    )
    write_atomically(files.markdown, as_markdown(layout))
    write_atomically(files.csv, as_tidy_csv(table))
    write_atomically(files.latex, as_latex(layout))
    write_atomically(files.json, as_json(table))
    return files


def as_tidy_csv(table: FilledTable) -> str:
    """All cells, row by row."""
    cells = (_csv_fields(table, row, column) for row in table.rows for column in table.columns)
    return csv_text([COLUMNS, *([fields[name] for name in COLUMNS] for fields in cells)])


def _csv_fields(table: FilledTable, row: TableRow, column: Column) -> dict[str, Any]:
    cell = table.cell(row, column)
    fields: dict[str, Any] = dict.fromkeys(COLUMNS)
    fields |= {
        "table": table.table.name,
        "group": row.group,
        "row": row.name,
        "column": column.name,
        "dataset": column.dataset,
        "metric": column.metric,
        "protocol": table.protocols[column.name].name,
        "published": cell.published,
        "status": cell.status,
        "difference_to_published": cell.difference,
        "reason": cell.reason,
    }
    if measured := cell.measured:
        fields |= {
            "measured_on": table.measured_on[column.name],
            "value": measured.value,
            "low": measured.low,
            "high": measured.high,
            "best": int(cell.best),
            "sd_of_seeds": measured.spread,
            "seeds": " ".join(str(run.seed) for run in measured.runs if run.seed is not None),
            "n": measured.clips,
            "chance": measured.chance,
            "coverage": "; ".join(f"{part.split} {part.percent:.6g}" for part in measured.parts),
            "runs": " ".join(run.key for run in measured.runs),
        }
    if versus := cell.versus:
        test = versus.test
        fields |= {"baseline": versus.baseline, "difference_to_baseline": test.difference, "p": test.p}
        fields |= {"difference_low": test.low, "difference_high": test.high, "test": test.test, "pairs": test.pairs}
    return fields


def as_document(table: FilledTable) -> dict[str, Any]:
    """Plain JSON types. Rows and columns in the order of the table; a cell for each pair, row by row.

    A cell's `measured.runs` name the results it is made of, by key and by file relative to the folder of results.
    """
    declared = table.table
    return {
        "schema": SCHEMA,
        "table": declared.name,
        "title": table.title,
        "embedded": table.embedded,
        "baseline": table.baseline,
        "grid": declared.grid,
        "labels": dict(declared.labels),
        "columns": [
            {
                "name": column.name,
                "heading": column.heading,
                "dataset": column.dataset,
                "metric": column.metric,
                "published": column.published,
                "measured_on": table.measured_on[column.name],
                "protocol": canonical(table.protocols[column.name]),
            }
            for column in table.columns
        ],
        "rows": [
            {"name": row.name, "group": row.group, "labels": dict(row.labels), "paper": bool(row.published)}
            for row in table.rows
        ],
        "cells": [_json_cell(table.cell(row, column)) for row in table.rows for column in table.columns],
        "notes": list(table.notes),
    }


def as_json(table: FilledTable) -> str:
    """`as_document`, as text."""
    return json.dumps(as_document(table), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_cell(cell: Cell) -> dict[str, Any]:
    fields = asdict(cell)
    if cell.measured:
        for part, shown in zip(cell.measured.parts, fields["measured"]["parts"], strict=True):
            shown["percent"] = part.percent
        fields["measured"]["complete"] = cell.measured.complete
    if cell.versus:
        fields["versus"] = {"baseline": cell.versus.baseline, **asdict(cell.versus.test)}
        fields["versus"]["significant"] = cell.versus.significant
    return fields
