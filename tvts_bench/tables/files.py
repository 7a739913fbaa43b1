"""The files of a filled table. Equal results make equal bytes: no time, no machine, no order of running is in them."""

from dataclasses import dataclass
from pathlib import Path

from tvts_bench.results import write_atomically
from tvts_bench.tables.document import as_json
from tvts_bench.tables.filled import FilledTable
from tvts_bench.tables.latex import as_latex
from tvts_bench.tables.layout import lay_out
from tvts_bench.tables.markdown import as_markdown
from tvts_bench.tables.tidy import as_tidy_csv

FOLDER = "tables"  # under the folder of all results


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
