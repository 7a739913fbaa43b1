"""Results as terminal tables."""

from rich.table import Table
from rich.text import Text

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
        table.add_row(metric.name, f"[bold]{metric.value:.2f}[/]", interval, *deviation, chance)
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


def failures(result: Result) -> Text:
    """The clips that could not be read, with reasons; the JSON lists them all."""
    text = Text()
    for coverage in result.coverage:
        for number, (clip, reason) in enumerate(coverage.failed.items()):
            if number == SHOWN_FAILURES:
                text.append(f"  ... and {len(coverage.failed) - number} more, all in the JSON\n")
                break
            text.append(f"  {failure_line(clip, reason)}\n")
    return text
