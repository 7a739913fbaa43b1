"""How a grid is shown: its cells as they stand, and what would be run. Imported inside commands: rich costs time."""

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tvts_bench.ablations.jobs import CellJob
from tvts_bench.ablations.plan import PlannedCell
from tvts_bench.ablations.status import CellStatus, cell_statuses
from tvts_bench.printable import printable
from tvts_bench.results.grids import GridRecord

STYLES = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}
SHOWN_EVERY = 2.0  # seconds


def status_table(out: Path, grid: GridRecord) -> Group:
    """A grid with one line per cell: how it stands, what it does, and how much work is left; below it the reasons."""
    cells = cell_statuses(out, grid)
    table = Table(title=f"{grid.grid}: {grid.title}", title_justify="left", title_style="italic")
    for name in ("cell", "seed", "state", "stage", "step", "worked", "left"):
        right = name in ("seed", "step", "worked", "left")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for each in cells:
        table.add_row(
            each.row,
            str(each.seed),
            Text(each.status, style=STYLES[each.status]),
            each.stage or "",
            f"{each.step:,}/{each.steps:,}" if each.step is not None and each.steps is not None else "",
            duration(each.seconds) if each.seconds else "",
            "" if each.status in ("done", "failed") else duration(each.left),
        )
    counts = {status: sum(each.status == status for each in cells) for status in STYLES}
    table.caption = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    reasons = [
        Text(printable(f"{each.row}:{each.seed} {_line(each)}"), STYLES[each.status]) for each in cells if each.reason
    ]
    return Group(table, *reasons)


@contextmanager
def live(grids: Sequence[tuple[Path, GridRecord]], console: Console) -> Iterator[Callable[[], None]]:
    """Yields what shows `grids` (folders and records) as they are now; without a terminal, a line at each change."""
    if not console.is_terminal:
        before: dict[tuple[str, str, int], str] = {}
        yield lambda: _print_changes(grids, console, before)
        return
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
    grids: Sequence[tuple[Path, GridRecord]], console: Console, before: dict[tuple[str, str, int], str]
) -> None:
    for out, grid in grids:
        for each in cell_statuses(out, grid):
            cell, now = (grid.grid, each.row, each.seed), _line(each)
            if before.get(cell, "waiting") != now:
                clock = time.strftime("%H:%M:%S")
                console.print(f"{clock} {each.row}:{each.seed} {now}", soft_wrap=True)
            before[cell] = now


def _line(each: CellStatus) -> str:
    stage = f" ({each.stage})" if each.stage and each.status in ("running", "failed") else ""
    return f"{each.status}{stage}{': ' + each.reason if each.reason else ''}"


def planned_lines(cell: PlannedCell, job: CellJob, finished: bool, seconds: float | None) -> Text:
    """A cell of a dry run: its name, its estimate, and its commands as they can be pasted."""
    left = "finished" if finished else "time unknown" if seconds is None else f"about {duration(seconds)}"
    text = Text.assemble((printable(cell.name), "bold"), f"  {cell.key}  {left}\n")
    for stage in () if finished else job.stages:
        text.append(f"  {printable(shlex.join(('python', *stage.command[1:])))}\n", style="dim")
    return text


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "42 s", "12 min", "3.5 h"; "?" for None."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
