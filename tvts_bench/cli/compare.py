"""`tvts-bench compare`: whether models differ, from stored results."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.measure import Measurement

from tvts_bench.cli.console import say, stdout
from tvts_bench.cli.options import DATA, OUTPUT, PROTOCOL, AsJson
from tvts_bench.config_fields import Option

if TYPE_CHECKING:
    from rich.table import Table

    from tvts_bench.results.collection import Results
    from tvts_bench.results.compare import Comparison, Verdict
    from tvts_bench.tables.layout import TableLayout

CLIPS_SHOWN = 5
PASSED_OVER_SHOWN = 5
FEW_VERDICTS = 3  # of so many the clips are shown without being asked for

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="RESULT...",
        help="Result files (JSON), folders of them, or grids of `tvts-bench ablate`; NAME=FILE calls a model so.",
        show_default=False,
    ),
]
Baseline = Annotated[
    str | None,
    Option(
        "Compare all others with this model (its name, a part of it, or its file). Without it, each with each.",
        form="MODEL",
    ),
    PROTOCOL,
]
Metrics = Annotated[
    list[str] | None,
    Option(
        "Compare by this metric; repeat it. R@1, or top-1 of each head, by default.", flag="--metric", form="R@K|top-1"
    ),
    PROTOCOL,
]
Grid = Annotated[str | None, Option("Which grid, where a folder holds several."), DATA]
Clips = Annotated[
    int | None,
    Option(
        f"Show N clips that only one of two models gets right. {CLIPS_SHOWN} for up to {FEW_VERDICTS} comparisons, else"
        " none; the files have all.",
        form="N",
        least=0,
    ),
    OUTPUT,
]
Out = Annotated[
    Path | None,
    Option("Folder for comparison.md, .csv, .json and .clips.csv. Without it nothing is written."),
    OUTPUT,
]


def compare(
    sources: Sources,
    baseline: Baseline = None,
    metric: Metrics = None,
    grid: Grid = None,
    clips: Clips = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Say of models whether they differ: stored results, compared on the same clips.

    Each difference has its 95 % interval, paired over clips, and a p-value: McNemar's exact test for clips that are
    right or wrong, a bootstrap or permutation test for means over seeds of sampling, a paired t test over seeds of
    pretraining where a grid has several. Beside it stands the p-value corrected for all comparisons (Holm), which the
    verdicts go by. Results of other clips, protocols or versions are refused, with what differs. Parquet files must
    lie beside the JSON; nothing is measured again.

    tvts-bench compare results

    tvts-bench compare results --baseline tvts:tiny --metric R@1 --metric R@5

    tvts-bench compare ours=a/x.json theirs=b/x.json --clips 20 --out comparison

    tvts-bench compare results/ablations/sort-modeling.zip --baseline none
    """
    from tvts_bench.results import require_writable
    from tvts_bench.results.collection import load_results
    from tvts_bench.results.compare import compare as compare_models
    from tvts_bench.tables.comparison import as_document, write_comparisons

    if out is not None:
        require_writable(out)
    results = load_results(sources, grid)
    comparisons = compare_models(results, baseline, metric or ())
    say_passed_over(results)
    if as_json:
        typer.echo(json.dumps(as_document(comparisons), indent=2))
    else:
        count = sum(len(each.verdicts) for each in comparisons)
        shown = (CLIPS_SHOWN if count <= FEW_VERDICTS else 0) if clips is None else clips
        for comparison in comparisons:
            _show(comparison, shown)
    if out is not None:
        first, *others = write_comparisons(comparisons, out)
        say(f"written: {first} (and {', '.join(path.name.removeprefix(first.stem) for path in others)})")


def _show(comparison: "Comparison", clips: int) -> None:
    from tvts_bench.results.compare import p_in_words
    from tvts_bench.tables.comparison import lay_out_comparison

    layout = lay_out_comparison(comparison)
    stdout.print(layout.title, style="italic")
    table = whole_numbers(layout)
    if fits := is_wide_enough(table):
        stdout.print(table)
    sentences, notes = layout.notes[: len(comparison.verdicts)], layout.notes[len(comparison.verdicts) :]
    for sentence, verdict in zip(sentences, comparison.verdicts, strict=True):
        stdout.print(sentence, style="bold", soft_wrap=True)
        if not fits and verdict.test:
            stdout.print(f"  {p_in_words(verdict.test.p)}, Holm {p_in_words(verdict.p_holm)}", soft_wrap=True)
    for verdict in comparison.verdicts if clips else ():
        _show_clips(verdict, clips)
    for note in notes:
        stdout.print(note, style="dim", soft_wrap=True)


def say_passed_over(results: "Results") -> None:
    """Which files were left out, as many as do not hide what came out."""
    for sentence in results.passed_over[:PASSED_OVER_SHOWN]:
        say(sentence)
    if len(results.passed_over) > PASSED_OVER_SHOWN:
        say(f"... and {len(results.passed_over) - PASSED_OVER_SHOWN:,} more files")


def whole_numbers(layout: "TableLayout", name_data: bool = True) -> "Table":
    """A table whose names go on in further lines where there is no room, and whose numbers never do."""
    from tvts_bench.tables.render import as_terminal

    table = as_terminal(layout, name_data)
    names = []
    for number, column in enumerate(table.columns):
        column.overflow = "fold"
        texts = [line.texts[number] for line in layout.lines]
        parts = [part for text in texts for part in (text.text + text.mark, text.extra)]
        if layout.headings[number].is_number:
            column.min_width = max(map(len, [*str(column.header).split(), *parts]))
        else:
            names.append((column, max(map(len, parts))))
    if Measurement.get(stdout, stdout.options.update(width=1000), table).maximum > stdout.width:
        for column in table.columns:
            column.width = column.min_width
        for number, (column, longest) in enumerate(names):  # what numbers leave, names share
            room = (column.width or 0) + (stdout.width - _least_width(table)) // (len(names) - number)
            column.width = column.min_width = max(column.width or 0, min(room, longest))
    return table


def _least_width(table: "Table") -> int:
    return 1 + sum(3 + (column.min_width or 0) for column in table.columns)  # with its lines


def is_wide_enough(table: "Table") -> bool:
    """Whether the terminal shows every number whole: one that is cut would be another number."""
    return _least_width(table) <= stdout.width


def _show_clips(verdict: "Verdict", most: int) -> None:
    """Clips that one of two models alone gets right, as many as asked for."""
    sides = ((verdict.first, verdict.second, verdict.only_first), (verdict.second, verdict.first, verdict.only_second))
    for right, wrong, clips in sides:
        if clips:
            more = f", and {len(clips) - most:,} more" if len(clips) > most else ""
            count = f"{len(clips):,} clips" if len(clips) > 1 else "1 clip"
            line = f"{count} that {right} gets right and {wrong} does not ({verdict.metric}): "
            stdout.print(f"{line}{', '.join(clips[:most])}{more}", soft_wrap=True)
