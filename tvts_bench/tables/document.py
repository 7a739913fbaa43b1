"""A table as JSON with everything: what other programs, and the report, are made from."""

import json
from dataclasses import asdict
from typing import Any

from tvts_bench.provenance import canonical
from tvts_bench.tables.filled import Cell, FilledTable

SCHEMA = 1  # raised when a field changes its meaning


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
        "cells": [_cell(table.cell(row, column)) for row in table.rows for column in table.columns],
        "notes": list(table.notes),
    }


def as_json(table: FilledTable) -> str:
    """`as_document`, as text."""
    return json.dumps(as_document(table), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _cell(cell: Cell) -> dict[str, Any]:
    found = asdict(cell)
    if cell.measured:
        for part, fields in zip(cell.measured.parts, found["measured"]["parts"], strict=True):
            fields["percent"] = part.percent
        found["measured"]["complete"] = cell.measured.complete
    if cell.versus:
        found["versus"] = {"baseline": cell.versus.baseline, **asdict(cell.versus.test)}
        found["versus"]["significant"] = cell.versus.significant
    return found
