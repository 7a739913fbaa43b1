"""Results as terminal tables."""

from rich.table import Table
from rich.text import Text

from tvts_bench.metrics.measured import Metric
from tvts_bench.result_files import facts
from tvts_bench.results import Result

SHOWN_FAILURES = 10


def result_table(result: Result, title: str) -> Table:
    """Metrics as columns, conditions as rows, chance below; what made the numbers is the caption."""
    names = list(dict.fromkeys(metric.name for metric in result.metrics))
    conditions = list(dict.fromkeys(metric.condition for metric in result.metrics))
    measured = {(metric.condition, metric.name): metric for metric in result.metrics}
    table = Table(title=title, caption="\n".join(facts(result)), caption_justify="left", title_justify="left")
    table.add_column("clips")
    for name in names:
        table.add_column(name, justify="right")
    for condition in conditions:
        cells = (measured.get((condition, name)) for name in names)
        style = "bold" if condition == conditions[0] else ""
        table.add_row(condition, *(_cell(cell) for cell in cells), style=style)
    chances = (measured[conditions[0], name].chance if (conditions[0], name) in measured else None for name in names)
    table.add_row("chance", *("" if chance is None else f"{chance:.2f}" for chance in chances), style="dim")
    return table


def failures(result: Result) -> Text:
    """The clips that could not be read, with reasons; the JSON lists them all."""
    text = Text()
    for coverage in result.coverage:
        for number, (clip, reason) in enumerate(coverage.failed.items()):
            if number == SHOWN_FAILURES:
                text.append(f"  ... and {len(coverage.failed) - number} more, all in the JSON\n")
                break
            text.append(f"  {clip}: {reason}\n")
    return text


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return ""
    interval = "" if metric.low is None else f" [{metric.low:.1f}, {metric.high:.1f}]"
    spread = ""
    if metric.per_seed:
        mean = sum(metric.per_seed) / len(metric.per_seed)
        deviation = (sum((value - mean) ** 2 for value in metric.per_seed) / (len(metric.per_seed) - 1)) ** 0.5
        spread = f" ±{deviation:.2f}"
    return f"{metric.value:.2f}{spread}{interval}"
