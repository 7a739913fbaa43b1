"""`tvts-bench report`, a folder of results as one HTML page, and `tvts-bench status`, how its grids stand."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tvts_bench.cli.console import progress_bar, say, stdout, table
from tvts_bench.cli.options import DATA, OUTPUT
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError, name_values
from tvts_bench.printable import printable

if TYPE_CHECKING:
    from rich.console import Group

    from tvts_bench.ablations.status import CellStatus
    from tvts_bench.results.grids import GridRecord

STYLES = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}
SHOWN_EVERY = 2.0  # seconds


def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of results: the --out of other commands.")
    ] = Path("results"),
    out: Annotated[Path, Option("The page."), OUTPUT] = Path("report.html"),
    gallery: Annotated[int, Option("Queries of a data set.", form="N", least=0), OUTPUT] = 24,
    data: Annotated[
        list[str] | None,
        Option(
            "Where the videos of a data set lie here, if not where they were measured: ssv2=DIR. Repeat it.",
            form="SET=DIR",
        ),
        DATA,
    ] = None,
) -> None:
    """Show a folder of results as one HTML page: tables, plots, curves, and queries with their neighbours as pictures.

    Every number on it opens what made it. The page is one file that needs no network. Equal results make equal pages.

    tvts-bench report

    tvts-bench report runs/ablations --out ablations.html

    tvts-bench report results --gallery 60 --data ssv2=SSV2
    """
    from tvts_bench.report.folder import read_contents
    from tvts_bench.report.page import build, render
    from tvts_bench.results import require_writable, write_atomically

    roots, contents = _roots(data or ()), read_contents(results)
    if out.is_dir():
        raise UserError(f"cannot write the page to {out}: it is a folder; give --out a file name, such as report.html")
    require_writable(out.parent)
    built = build(contents, queries=gallery, roots=roots, progress=progress_bar)
    write_atomically(out, render(built))
    for sentence in built.left_out:
        say(sentence)
    size = f"{out.stat().st_size / 2**20:.1f} MiB"
    say(f"written: {out} ({size})")


def _roots(pairs: Iterable[str]) -> dict[str, Path]:
    """Folders by data set, from `SET=DIR` texts; the part of `scripted_motion:ssv2` after the colon does not matter."""
    from tvts_bench.registry import load

    roots = {}
    for name, folder in name_values("--data", pairs, "SET=DIR, such as ssv2=DIR").items():
        base = name.partition(":")[0]
        load("datasets", base)  # refuses an unknown name
        if not Path(folder).is_dir():
            raise UserError(f"--data {name}={folder}: {folder} is not a folder")
        roots[base.replace("-", "_")] = Path(folder)
    return roots


def status(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The --out of `tvts-bench ablate`.")] = Path(
        "runs/ablations"
    ),
    watch: Annotated[bool, Option("Keep showing it until Ctrl-C.")] = False,
) -> None:
    """How the grids of a folder stand: every cell, the step it is at, the time left, and why one failed."""
    from tvts_bench.results.grids import GridError, grid_names, grid_roots, read_grid

    grids = [
        (root, grid) for root in grid_roots(folder) for name in grid_names(root) if (grid := read_grid(root, name))
    ]
    if not grids:
        raise GridError(
            f"{folder} holds no grid (no {folder / 'grids'}): start one with `tvts-bench ablate GRID --out`"
        )
    if not watch:
        for root, grid in grids:
            stdout.print(status_table(root, grid))
        return
    with live(grids, stdout) as look:
        while True:
            look()
            time.sleep(1)


def status_table(out: Path, grid: "GridRecord") -> "Group":
    """A grid with one line per cell: how it stands, what it does, and how much work is left; below it the reasons."""
    from rich.console import Group
    from rich.text import Text

    from tvts_bench.ablations.status import cell_statuses

    cells = cell_statuses(out, grid)
    rows = (
        (
            each.row,
            str(each.seed),
            Text(each.status, style=STYLES[each.status]),
            each.stage or "",
            f"{each.step:,}/{each.steps:,}" if each.step is not None and each.steps is not None else "",
            duration(each.seconds) if each.seconds else "",
            "" if each.status in ("done", "failed") else duration(each.left),
        )
        for each in cells
    )
    counts = Counter[str](each.status for each in cells)
    reasons = [
        Text(printable(f"{each.row}:{each.seed} {_line(each)}"), STYLES[each.status]) for each in cells if each.reason
    ]
    made = table(
        ("cell", ">seed", "state", "stage", ">step", ">worked", ">left"),
        rows,
        title=f"{grid.grid}: {grid.title}",
        title_style="italic",
        caption=", ".join(f"{counts[status]} {status}" for status in STYLES if counts[status]),
        caption_justify="center",
    )
    return Group(made, *reasons)


@contextmanager
def live(grids: Sequence[tuple[Path, "GridRecord"]], console: Console) -> Iterator[Callable[[], None]]:
    """Yields what shows `grids` (folders and records) as they are now; without a terminal, a line at each change."""
    if not console.is_terminal:
        before: dict[tuple[str, str, int], str] = {}
        yield lambda: _print_changes(grids, console, before)
        return
    from rich.console import Group
    from rich.live import Live

    shown = 0.0

    def tables() -> Group:
        return Group(*(status_table(out, grid) for out, grid in grids))

    with Live(tables(), console=console, auto_refresh=False, transient=True) as screen:

        def look() -> None:
            nonlocal shown
            if time.monotonic() - shown > SHOWN_EVERY:
                screen.update(tables(), refresh=True)
                shown = time.monotonic()

        yield look


def _print_changes(
    grids: Sequence[tuple[Path, "GridRecord"]], console: Console, before: dict[tuple[str, str, int], str]
) -> None:
    from tvts_bench.ablations.status import cell_statuses

    for out, grid in grids:
        for each in cell_statuses(out, grid):
            cell, now = (grid.grid, each.row, each.seed), _line(each)
            if before.get(cell, "waiting") != now:
                clock = time.strftime("%H:%M:%S")
                console.print(f"{clock} {each.row}:{each.seed} {now}", soft_wrap=True)
            before[cell] = now


def _line(each: "CellStatus") -> str:
    stage = f" ({each.stage})" if each.stage and each.status in ("running", "failed") else ""
    return f"{each.status}{stage}{': ' + each.reason if each.reason else ''}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "42 s", "12 min", "3.5 h"; "?" for None."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
