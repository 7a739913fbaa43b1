"""How probes and fine-tuning report: a table a classifier, files, and what was not read."""

import json
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from tvts_bench.cli.console import stderr, stdout
from tvts_bench.cli.tables import failures
from tvts_bench.metrics.measured import Metric
from tvts_bench.results import Result


def classification_table(result: Result) -> Table:
    """A row a classifier and metric: value, interval, spread over seeds, chance."""
    spread = any(metric.per_seed for metric in result.metrics)
    table = Table()
    for heading in ("", "", "%", "95 % interval", *(["sd of seeds"] if spread else []), "chance"):
        # In a narrow terminal names go on in a second line; a number that is cut would be another number.
        table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
    last: Metric | None = None
    for metric in result.metrics:
        new = last is None or last.condition != metric.condition
        if new and last is not None:
            table.add_section()
        table.add_row(metric.condition if new else "", metric.name, *_cells(metric, spread))
        last = metric
    return table


def report(result: Result, title: str, out: Path, as_json: bool, *, is_part: bool = False) -> None:
    """Write the files of `result` into `out`, and print its table, or with `as_json` its JSON.

    The JSON of one that `is_part` of another lies in its file alone: standard output holds one document.
    """
    from tvts_bench.results import as_json as as_document
    from tvts_bench.results.files import write_files
    from tvts_bench.results.summary import facts

    written = write_files(result, out)
    if as_json and not is_part:
        typer.echo(json.dumps(as_document(result), indent=2))  # ASCII: whatever the terminal's encoding
    elif not as_json:
        stdout.print(f"{title} on {result.run.dataset['name']}", style="italic")
        stdout.print(classification_table(result))
        for line in facts(result):
            stdout.print(line, style="dim", soft_wrap=True)
    for line in failures(result):
        stderr.print(line, soft_wrap=True)
    stem = written.saved.json.stem
    others = (written.csv, written.markdown, *written.tables, *written.copies)
    beside = ", ".join(path.name.removeprefix(stem) for path in others)
    stderr.print(f"written: {written.saved.json} (and {beside})", soft_wrap=True)


def _cells(metric: Metric, spread: bool) -> list[str | Text]:
    interval = "" if metric.low is None else f"{metric.low:.1f} - {metric.high:.1f}"
    deviation = ["" if metric.spread is None else f"{metric.spread:.2f}"] if spread else []
    chance = "" if metric.chance is None else f"{metric.chance:.2f}"
    return [Text(f"{metric.value:.2f}", style="bold"), interval, *deviation, chance]
