"""The progress bar of the command line. Imported inside commands: it costs a tenth of a second."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich import progress
from rich.text import Text

from tvts_bench.cli.console import stderr
from tvts_bench.printable import printable

SHOWN_AFTER_SECONDS = 2.0  # a line stays behind for loops that took longer


class RateColumn(progress.ProgressColumn):
    """Finished units a second."""

    def __init__(self, unit: str) -> None:
        """What is counted."""
        super().__init__()
        self.unit = unit

    def render(self, task: progress.Task) -> Text:
        """The rate so far, or of the whole once it is finished."""
        return Text(f"{task.finished_speed or task.speed or 0:,.1f} {self.unit}/s", style="progress.data.speed")


@contextmanager
def progress_bar(total: int, unit: str, description: str) -> Iterator[Callable[[int], None]]:
    """A `tvts_bench.runtime.Progress` on standard error: a bar with rate and time left, then one line that stays."""
    description = printable(description)
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        RateColumn(unit),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars = progress.Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
    bars.start()
    try:
        task = bars.add_task(description, total=total)
        started, done = time.monotonic(), 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            bars.advance(task, units)

        yield advance
        seconds = time.monotonic() - started
    finally:
        with suppress(OSError):  # a terminal that is gone must not hide how the loop ended
            bars.stop()
    if seconds > SHOWN_AFTER_SECONDS:
        line = f"{description}: {done:,.0f} {unit} in {seconds:.1f} s ({done / seconds:,.1f} {unit}/s)"
        stderr.print(line, style="dim")
