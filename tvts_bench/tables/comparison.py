"""Comparisons of models as tables and files: Markdown, tidy CSV, JSON, and a CSV of the clips that tell two apart.

Equal results make equal bytes; no path of a machine is in them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tvts_bench.metrics.measured import FORWARD
from tvts_bench.printable import csv_text, in_markdown
from tvts_bench.results import write_atomically
from tvts_bench.results.compare import Comparison, Verdict, p_in_words
from tvts_bench.tables.layout import Heading, Line, TableLayout, Text
from tvts_bench.tables.render import as_markdown

SCHEMA = 1  # of the JSON document; raised when a field changes its meaning
STEM = "comparison"
COLUMNS = (
    *("dataset", "protocol", "setting", "metric", "condition"),
    *("first", "second", "first_value", "second_value"),
    *("difference", "low", "high", "p", "p_holm", "test", "pairs", "only_first", "only_second", "verdict"),
    *("first_runs", "second_runs"),
)
"""Percent; differences are those of the first to the second. `only_first`: clips that the first alone gets right."""
CLIP_COLUMNS = ("dataset", "protocol", "setting", "metric", "condition", "right", "wrong", "clip")


def lay_out_comparison(comparison: Comparison) -> TableLayout:
    """One row per verdict, intervals below differences; the sentences are among the notes."""
    lines = [
        Line(group=_metric_of(verdict), begins=number == 0, texts=_texts(verdict))
        for number, verdict in enumerate(comparison.verdicts)
    ]
    return TableLayout(
        title=f"{comparison.task} ({comparison.setting})" if comparison.setting else str(comparison.task),
        headings=(
            Heading(text="first"),
            Heading(text="second"),
            *(Heading(text=text, kind="number") for text in ("difference", "p", "Holm p")),
        ),
        lines=_grouped(lines),
        notes=(
            *(verdict.sentence for verdict in comparison.verdicts),
            *(f"{model}: {fact}" for model, fact in comparison.models.items()),
            *comparison.notes,
        ),
    )


def write_comparisons(comparisons: Sequence[Comparison], out: Path) -> tuple[Path, ...]:
    """Write OUT/comparison.md, .csv, .clips.csv and .json, each whole or not at all.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    contents = {
        "md": "\n".join(as_markdown(lay_out_comparison(each)) + _clips_in_markdown(each) for each in comparisons),
        "csv": csv_text([COLUMNS, *(_csv_row(each, verdict) for each in comparisons for verdict in each.verdicts)]),
        "clips.csv": csv_text([CLIP_COLUMNS, *(row for each in comparisons for row in _clip_rows(each))]),
        "json": json.dumps(as_document(comparisons), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = tuple(out / f"{STEM}.{suffix}" for suffix in contents)
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomically(path, content)
    return paths


def as_document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Plain JSON types: everything, every clip included."""
    return {"schema": SCHEMA, "comparisons": [_comparison_document(each) for each in comparisons]}


def _comparison_document(comparison: Comparison) -> dict[str, Any]:
    verdicts = [
        {**asdict(verdict), "significant": verdict.significant, "verdict": verdict.sentence}
        for verdict in comparison.verdicts
    ]
    return {**asdict(comparison), "verdicts": verdicts}


def _texts(verdict: Verdict) -> tuple[Text, ...]:
    test = verdict.test
    cells = [
        Text(text=verdict.first, extra=f"{verdict.first_value:.1f} %"),
        Text(text=verdict.second, extra=f"{verdict.second_value:.1f} %"),
    ]
    if test is None:
        return (*cells, Text(text=f"{verdict.first_value - verdict.second_value:+.1f}"), Text(), Text())
    interval = "" if test.low is None else f"[{test.low:+.1f}, {test.high:+.1f}]"
    cells.append(Text(text=f"{test.difference:+.1f}", extra=interval, bold=verdict.significant))
    return (*cells, *(Text(text=p_in_words(p).removeprefix("p ")) for p in (test.p, verdict.p_holm)))


def _metric_of(verdict: Verdict) -> str:
    return verdict.metric if verdict.condition == FORWARD else f"{verdict.metric}, {verdict.condition}"


def _grouped(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines; a new group begins where the metric changes."""
    before = ["", *(line.group for line in lines)]
    return tuple(
        Line(group=line.group, begins=line.group != last, texts=line.texts)
        for line, last in zip(lines, before, strict=False)
    )


def _csv_row(comparison: Comparison, verdict: Verdict) -> list[object]:
    task, test = comparison.task, verdict.test
    measure = (task.dataset, task.protocol, comparison.setting, verdict.metric, verdict.condition)
    tested = (test.difference, test.low, test.high, test.p, verdict.p_holm, test.test, test.pairs) if test else ()
    return [
        *(*measure, verdict.first, verdict.second),
        *(verdict.first_value, verdict.second_value),
        *(tested or [None] * 7),
        *(len(verdict.only_first), len(verdict.only_second), verdict.sentence),
        *(" ".join(comparison.runs[model]) for model in (verdict.first, verdict.second)),
    ]


def _clip_rows(comparison: Comparison) -> Iterable[list[object]]:
    task = comparison.task
    for verdict in comparison.verdicts:
        sides = (
            (verdict.first, verdict.second, verdict.only_first),
            (verdict.second, verdict.first, verdict.only_second),
        )
        for right, wrong, clips in sides:
            for clip in clips:
                yield [
                    *(task.dataset, task.protocol, comparison.setting, verdict.metric, verdict.condition),
                    *(right, wrong, clip),
                ]


def _clips_in_markdown(comparison: Comparison) -> str:
    """How many clips one model alone gets right; which ones is in the CSV."""
    lines = (
        f"- {in_markdown(_metric_of(verdict))}: {len(verdict.only_first):,} clips that {in_markdown(verdict.first)}"
        f" gets right and {in_markdown(verdict.second)} does not, {len(verdict.only_second):,} the other way round"
        for verdict in comparison.verdicts
    )
    return "\n".join(lines) + f"\n- all of these clips: {STEM}.clips.csv\n"
