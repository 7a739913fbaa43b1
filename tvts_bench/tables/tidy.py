"""A table as tidy CSV: one row a cell, numbers unrounded."""

from typing import Any

from tvts_bench.csv_files import csv_text
from tvts_bench.tables.base import Column, Row
from tvts_bench.tables.filled import FilledTable

COLUMNS = (
    *("table", "group", "row", "column", "dataset", "measured_on", "protocol", "metric"),
    *("published", "status", "value", "low", "high", "best", "sd_of_seeds", "seeds", "n", "chance"),
    *("coverage", "difference_to_published"),
    *("baseline", "difference_to_baseline", "difference_low", "difference_high", "p", "test", "pairs"),
    *("runs", "reason"),
)
"""Percent where nothing else is said. `coverage`: percent of each split; `runs`: keys, in the order of `seeds`."""


def as_tidy_csv(table: FilledTable) -> str:
    """All cells, row by row."""
    cells = (_fields(table, row, column) for row in table.rows for column in table.columns)
    return csv_text([COLUMNS, *([fields[name] for name in COLUMNS] for fields in cells)])


def _fields(table: FilledTable, row: Row, column: Column) -> dict[str, Any]:
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
