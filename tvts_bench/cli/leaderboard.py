"""`tvts-bench leaderboard`: models x tasks from stored results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli.compare import Grid, Metrics, is_wide_enough, say_passed_over, whole_numbers
from tvts_bench.cli.console import say, stdout
from tvts_bench.cli.options import OUTPUT
from tvts_bench.config_fields import Option

if TYPE_CHECKING:
    from tvts_bench.results.leaderboard import Leaderboard

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="DIR...",
        help="Folders of results (read with the folders in them), result files, or grids; NAME=FILE calls a model so.",
        show_default=False,
    ),
]
Form = Annotated[
    str,
    Option(
        "What is printed: a table for the terminal, or one of the files.",
        flag="--format",
        form="table|csv|md|tex|html",
    ),
    OUTPUT,
]
Untested = Annotated[bool, Option("Leave out the letters: nothing but the JSON files is read."), OUTPUT]
Out = Annotated[
    Path | None,
    Option("Folder for leaderboard.md, .csv, .tex and .html. Without it nothing is written."),
    OUTPUT,
]


def leaderboard(
    sources: Sources,
    metric: Metrics = None,
    grid: Grid = None,
    no_tests: Untested = False,
    form: Form = "table",
    out: Out = None,
) -> None:
    """Rank models by everything that was measured of them: one row per model, one column per task.

    Each number has its 95 % interval, and letters: models that share one in a column are not shown to differ, by paired
    tests on the same clips that are corrected for all pairs (Holm). Bold is ahead of all others. The mean rank is over
    the columns that all models are in. What was measured by another protocol, on other clips or by another version has
    a column of its own. Chance, coverage and cost stand beside the numbers where results have them.

    tvts-bench leaderboard results

    tvts-bench leaderboard results more_results --metric R@5 --out board

    tvts-bench leaderboard ours=a.json theirs=b.json --format md

    tvts-bench leaderboard results/ablations/sort-modeling.zip
    """
    from tvts_bench.errors import UserError
    from tvts_bench.results import require_writable
    from tvts_bench.results.collection import load_results
    from tvts_bench.results.leaderboard import make_leaderboard
    from tvts_bench.tables.leaderboard import as_text, write_leaderboard

    forms = ("table", "csv", "md", "tex", "html")
    if form not in forms:
        raise UserError(f"--format takes {', '.join(forms)}, got {form!r}")
    if out is not None:
        require_writable(out)
    results = load_results(sources, grid)
    board = make_leaderboard(results, metric or (), tested=not no_tests)
    say_passed_over(results)
    if form == "table":
        _show(board)
    else:
        typer.echo(as_text(board, form), nl=False)
    if out is not None:
        first, *others = write_leaderboard(board, out)
        say(f"written: {first} (and {', '.join(path.suffix for path in others)})")


def _show(board: "Leaderboard") -> None:
    """One table where the terminal is wide enough, else an overview, and one per task or per column."""
    from tvts_bench.tables.leaderboard import lay_out_leaderboard

    whole = whole_numbers(lay_out_leaderboard(board))
    if is_wide_enough(whole):
        stdout.print(whole)
    else:
        stdout.print(whole_numbers(lay_out_leaderboard(board, ())))
        for task in dict.fromkeys(measure.task for measure in board.measures):
            stdout.print(str(task), style="italic")
            columns = [number for number, measure in enumerate(board.measures) if measure.task == task]
            together = whole_numbers(lay_out_leaderboard(board, columns, overview=False), name_data=False)
            if is_wide_enough(together):
                stdout.print(together)
                continue
            for number in columns:
                stdout.print(whole_numbers(lay_out_leaderboard(board, [number], overview=False), name_data=False))
    for note in board.notes:
        stdout.print(note, style="dim", soft_wrap=True)
