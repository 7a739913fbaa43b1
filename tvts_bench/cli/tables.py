"""Results as terminal tables."""

from collections.abc import Iterator, Mapping

from rich.table import Table
from rich.text import Text

from tvts_bench.evaluators.ranking import recall_difference
from tvts_bench.metrics.measured import FORWARD, failure_line
from tvts_bench.results import Result

SHOWN_FAILURES = 10


def result_table(result: Result) -> Table:
    """A row a metric: value, interval, spread over seeds, chance."""
    spread = any(metric.per_seed for metric in result.metrics)
    table = Table()
    for heading in ("", "%", "95 % interval", *(["sd of seeds"] if spread else []), "chance"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for metric in result.metrics:
        if metric.condition != FORWARD:
            continue
        interval = "" if metric.low is None else f"{metric.low:.1f} - {metric.high:.1f}"
        deviation = ["" if metric.spread is None else f"{metric.spread:.2f}"] if spread else []
        chance = "" if metric.chance is None else f"{metric.chance:.2f}"
        table.add_row(metric.name, Text(f"{metric.value:.2f}", style="bold"), interval, *deviation, chance)
    return table


def controls_table(result: Result) -> Table | None:
    """What is left of each metric when time is taken away from the clips; None if no control was measured."""
    conditions = list(dict.fromkeys(metric.condition for metric in result.metrics))
    if len(conditions) < 2:
        return None
    table = Table(title="Temporal controls, %", title_justify="left")
    table.add_column("")
    for condition in conditions:
        table.add_column(condition, justify="right", no_wrap=True)
    measured = {(metric.condition, metric.name): metric for metric in result.metrics}
    for name in dict.fromkeys(metric.name for metric in result.metrics):
        cells = (measured.get((condition, name)) for condition in conditions)
        table.add_row(name, *("" if cell is None else f"{cell.value:.2f}" for cell in cells))
    return table


def comparison_table(results: Mapping[str, Result]) -> Table:
    """Recall of several backbones over the same clips, by label: a row each, chance, and the first less each other.

    Every cell has its 95 % interval below it; that of a difference is paired over queries.
    """
    (label, first), *others = results.items()
    recalls = [metric for metric in first.metrics if metric.name.startswith("R@") and metric.condition == FORWARD]
    table = Table()
    table.add_column("")
    for recall in recalls:
        table.add_column(f"{recall.name}, %", justify="right", no_wrap=True)
    for name, result in results.items():
        measured = [result.metric(recall.name) for recall in recalls]
        cells = (_below(f"{metric.value:.2f}", f"{metric.low:.1f} - {metric.high:.1f}") for metric in measured)
        table.add_row(name, *cells)
    table.add_row("chance", *(f"{recall.chance:.2f}" for recall in recalls), end_section=True)
    for name, result in others:
        cells = (_difference(first, result, int(recall.name.removeprefix("R@"))) for recall in recalls)
        table.add_row(f"{_short(label)} minus {_short(name)}", *cells)
    return table


def _difference(first: Result, second: Result, k: int) -> Text:
    ahead = recall_difference(first.tables["neighbors"], second.tables["neighbors"], k)
    return _below(f"{ahead.value:+.2f}", f"{ahead.interval.low:+.1f} to {ahead.interval.high:+.1f}")


def _below(value: str, interval: str) -> Text:
    """A number with its interval in the line below it."""
    return Text.assemble((value, "bold"), f"\n{interval}")


def _short(label: str) -> str:
    """A label without what it says in brackets."""
    return label.partition(" (")[0]


def failures(result: Result) -> Iterator[str]:
    """A line each: the clips that could not be read, with reasons; the JSON lists them all."""
    for coverage in result.coverage:
        for number, (clip, reason) in enumerate(coverage.failed.items()):
            if number == SHOWN_FAILURES:
                yield f"  ... and {len(coverage.failed) - number} more, all in the JSON"
                break
            yield f"  {failure_line(clip, reason)}"
