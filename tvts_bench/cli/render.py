"""Results as terminal tables, and what every measuring command shows and writes. Imported inside commands."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping

import typer
from rich.table import Table
from rich.text import Text

from tvts_bench.cli.console import stderr, stdout, table
from tvts_bench.cli.options import Output
from tvts_bench.metrics.measured import FORWARD, Metric, failure_line
from tvts_bench.metrics.retrieval import recall_difference
from tvts_bench.results import Result
from tvts_bench.results import as_json as as_document
from tvts_bench.results.files import facts, write_files

SHOWN_FAILURES = 10


def show_retrieval(result: Result, output: Output) -> None:
    """Show and write a result of zero-shot retrieval; see `show_result`."""
    controls = controls_table(result)
    tables = (retrieval_table(result), *([] if controls is None else [controls]))
    show_result(result, "Zero-shot retrieval", tables, output)


def show_classification(result: Result, title: str, output: Output, *, is_part: bool = False) -> None:
    """Show and write a result of a probe or of fine-tuning.

    Args:
        result: As `show_result` takes it, like the rest.
        title: What was measured.
        output: Where to.
        is_part: Of another result.
    """
    show_result(result, title, (classification_table(result),), output, is_part=is_part)


def show_result(result: Result, title: str, tables: Iterable[Table], output: Output, *, is_part: bool = False) -> None:
    """Write the files of a result, and print its tables, or its JSON.

    Args:
        result: It.
        title: What was measured.
        tables: What is printed of it, before the lines on what made it.
        output: Folder of its files, and whether the JSON is printed instead.
        is_part: Of another result; its JSON lies in its file alone, since standard output holds one document.

    Raises:
        ResultError: The folder cannot be written to.
    """
    written = write_files(result, output.out)
    if output.as_json and not is_part:
        typer.echo(json.dumps(as_document(result), indent=2))  # ASCII: whatever the terminal's encoding
    elif not output.as_json:
        stdout.print(f"{title} on {result.run.dataset['name']}", style="italic")
        for table in tables:
            stdout.print(table)
        for line in facts(result):
            stdout.print(line, style="dim", soft_wrap=True)
    for line in failures(result):
        stderr.print(line, soft_wrap=True)
    stem = written.json.stem
    beside = ", ".join(path.name.removeprefix(stem) for path in written.beside)
    stderr.print(f"written: {written.json} (and {beside})", soft_wrap=True)


def retrieval_table(result: Result) -> Table:
    """One row per metric: value, interval, spread over seeds, chance."""
    spread = any(metric.per_seed for metric in result.metrics)
    forward = (metric for metric in result.metrics if metric.condition == FORWARD)
    return table(("", *_headings(spread)), ((metric.name, *_cells(metric, spread)) for metric in forward))


def classification_table(result: Result) -> Table:
    """One row per classifier and metric: value, interval, spread over seeds, chance."""
    spread = any(metric.per_seed for metric in result.metrics)
    made = table(("", "", *_headings(spread)))
    for condition, metrics in itertools.groupby(result.metrics, key=lambda metric: metric.condition):
        made.add_section()
        for number, metric in enumerate(metrics):
            made.add_row("" if number else condition, metric.name, *_cells(metric, spread))
    return made


def controls_table(result: Result) -> Table | None:
    """What is left of each metric when time is taken away from the clips; None if no control was measured."""
    conditions = list(dict.fromkeys(metric.condition for metric in result.metrics))
    if len(conditions) < 2:
        return None
    made = table(("", *(f">{condition}" for condition in conditions)), title="Temporal controls, %")
    measured = {(metric.condition, metric.name): metric for metric in result.metrics}
    for name in dict.fromkeys(metric.name for metric in result.metrics):
        cells = (measured.get((condition, name)) for condition in conditions)
        made.add_row(name, *("" if cell is None else f"{cell.value:.2f}" for cell in cells))
    return made


def comparison_table(results: Mapping[str, Result]) -> Table:
    """Recall of several backbones over the same clips, one row per label, chance, and the first less each other.

    Every cell has its 95 % interval below it; that of a difference is paired over queries.
    """
    (label, first), *others = results.items()
    recalls = [metric for metric in first.metrics if metric.name.startswith("R@") and metric.condition == FORWARD]
    made = table(("", *(f">{recall.name}, %" for recall in recalls)))
    for name, result in results.items():
        measured = [result.metric(recall.name) for recall in recalls]
        cells = (_below(f"{metric.value:.2f}", f"{metric.low:.1f} - {metric.high:.1f}") for metric in measured)
        made.add_row(name, *cells)
    made.add_row("chance", *(f"{recall.chance:.2f}" for recall in recalls), end_section=True)
    for name, result in others:
        cells = (_difference(first, result, int(recall.name.removeprefix("R@"))) for recall in recalls)
        made.add_row(f"{_short(label)} minus {_short(name)}", *cells)
    return made


def failures(result: Result) -> Iterator[str]:
    """One line per clip that could not be read, with the reason; the JSON lists them all."""
    for coverage in result.coverage:
        for number, (clip, reason) in enumerate(coverage.failed.items()):
            if number == SHOWN_FAILURES:
                yield f"  ... and {len(coverage.failed) - number} more, all in the JSON"
                break
            yield f"  {failure_line(clip, reason)}"


def _headings(spread: bool) -> tuple[str, ...]:
    return (">%", ">95 % interval", *([">sd of seeds"] if spread else []), ">chance")


def _cells(metric: Metric, spread: bool) -> list[str | Text]:
    interval = "" if metric.low is None else f"{metric.low:.1f} - {metric.high:.1f}"
    deviation = ["" if metric.spread is None else f"{metric.spread:.2f}"] if spread else []
    chance = "" if metric.chance is None else f"{metric.chance:.2f}"
    return [Text(f"{metric.value:.2f}", style="bold"), interval, *deviation, chance]


def _difference(first: Result, second: Result, k: int) -> Text:
    ahead = recall_difference(first.tables["neighbors"], second.tables["neighbors"], k)
    return _below(f"{ahead.value:+.2f}", f"{ahead.interval.low:+.1f} to {ahead.interval.high:+.1f}")


def _below(value: str, interval: str) -> Text:
    """A number with its interval in the line below it."""
    return Text.assemble((value, "bold"), f"\n{interval}")


def _short(label: str) -> str:
    """A label without what is in brackets."""
    return label.partition(" (")[0]
