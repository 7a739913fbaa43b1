"""A result for people: tidy CSV, a Markdown table, and the facts behind its numbers as lines of text."""

from collections.abc import Iterable

from tvts_bench.printable import csv_text, in_markdown
from tvts_bench.results.result import Result

COLUMNS = (
    "dataset",
    "backbone",
    "weights",
    "condition",
    "metric",
    "value",
    "low",
    "high",
    "sd_of_seeds",
    "chance",
    "used",
    "listed",
    "key",
)


def as_csv(result: Result) -> str:
    """Tidy CSV: one row a metric and condition; values in percent, unrounded."""
    rows: list[Iterable[object]] = [COLUMNS]
    queries = result.coverage[0]
    for metric in result.metrics:
        backbone = f"{result.run.backbone['family']}:{result.run.backbone['variant']}"
        row = (result.run.dataset["name"], backbone, result.run.backbone["weights"], metric.condition, metric.name)
        numbers = (metric.value, metric.low, metric.high, metric.spread, metric.chance)
        rows.append((*row, *numbers, queries.used, queries.listed, result.run.key))
    return csv_text(rows)


def as_markdown(result: Result) -> str:
    """A table of the metrics with what they speak of below it."""
    names = list(dict.fromkeys(metric.name for metric in result.metrics))
    conditions = list(dict.fromkeys(metric.condition for metric in result.metrics))
    measured = {(metric.condition, metric.name): metric for metric in result.metrics}
    lines = [f"| clips | {' | '.join(map(in_markdown, names))} |", "| --- |" + " ---: |" * len(names)]
    for condition in conditions:
        cells = []
        for name in names:
            metric = measured.get((condition, name))
            interval = "" if metric is None or metric.low is None else f" [{metric.low:.1f}, {metric.high:.1f}]"
            spread = "" if metric is None or metric.spread is None else f" ± {metric.spread:.2f}"
            cells.append("" if metric is None else f"{metric.value:.2f}{spread}{interval}")
        lines.append(f"| {in_markdown(condition)} | {' | '.join(cells)} |")
    chances = [measured[conditions[0], name].chance for name in names if (conditions[0], name) in measured]
    lines.append("| chance | " + " | ".join("" if value is None else f"{value:.2f}" for value in chances) + " |")
    return "\n".join((*lines, "", *(f"- {in_markdown(line)}" for line in facts(result)))) + "\n"


def facts(result: Result) -> list[str]:
    """What made the numbers, one short line each: for people; the JSON has all of it."""
    heading = (
        "percent, with 95 % bootstrap intervals over clips"
        + (", ± the standard deviation over seeds" if any(metric.per_seed for metric in result.metrics) else "")
        + f"; run {result.run.key[:12]}"
    )
    return [heading, backbone_fact(result), *shared_facts(result)]


def backbone_fact(result: Result) -> str:
    """Which backbone, which weights."""
    backbone = result.run.backbone
    weights = f"weights {backbone['weights']} (sha256 {backbone['sha256'][:12]})"
    return f"backbone {backbone['family']}:{backbone['variant']}, {weights}"


def shared_facts(result: Result) -> list[str]:
    """Data, protocol, decoders and notes: those of `facts` that comparable results have in common."""
    lines = [
        *(
            f"data {result.run.dataset['name']} {item.split}: {item.used:,} of {item.listed:,} clips used,"
            f" {len(item.failed):,} failed (fingerprint {item.fingerprint[:12]})"
            for item in result.coverage
        ),
        *result.protocol,
        "read by " + ", ".join(f"{name} ({count:,})" for name, count in result.provenance["decoders"].items()),
    ]
    return [*lines, *(f"note: {note}" for note in result.notes)]
