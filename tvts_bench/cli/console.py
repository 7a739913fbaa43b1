"""The two consoles every command prints to, tables to standard output, everything else to standard error; and its bars.

Whatever is printed is text: names from data bring no markup, no links, no escape sequences of terminals and no lines of
their own. What is to be bold or to have several lines is a `rich.text.Text`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tvts_bench.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_AFTER_SECONDS = 2.0  # a line stays behind for loops that took longer


class TextConsole(Console):
    """Prints strings as they are, each on one line, but for what does not show itself: that is escaped."""

    def __init__(self, *, stderr: bool = False) -> None:
        """To standard output, or to standard error."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: object) -> Text:
        """Strings, and those in tables, before their width is measured."""
        return super().render_str(printable(text), **options)  # type: ignore[arg-type]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything else that brings text: no piece of it steers the terminal."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else printable(segment.text, keep_lines=True)
            yield segment._replace(text=shown)


stdout = TextConsole()
stderr = TextConsole(stderr=True)


def say(line: str) -> None:
    """One line to standard error, however long. The terminal may be gone, which is how SIGHUP comes."""
    with suppress(OSError):
        stderr.print(line, soft_wrap=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]] = (), **options: Any) -> "Table":
    """A table whose numbers stand below each other and are never cut: a number that is cut would be another number.

    Args:
        headings: of columns of words; those of numbers begin with ">", which is not shown.
        rows: a cell for each.
        **options: of `rich.table.Table`.
    """
    from rich.table import Table

    made = Table(**{"title_justify": "left", "caption_justify": "left", **options})
    for heading in headings:
        is_number = heading.startswith(">")
        made.add_column(
            heading.removeprefix(">"),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="ellipsis" if is_number else "fold",
        )
    for row in rows:
        made.add_row(*row)
    return made


@contextmanager
def progress_bar(total: int, unit: str, description: str) -> Iterator[Callable[[int], None]]:
    """A `tvts_bench.runtime.Progress` on standard error: a bar with rate and time left, then one line that stays.

    Args:
        total: units.
        unit: what is counted, such as clips.
        description: stands before the bar.

    Yields:
        What is called with the number of units that were finished.
    """
    from rich import progress  # costs a tenth of a second

    description = printable(description)
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}", style="progress.data.speed", markup=False),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars = progress.Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
    bars.start()
    try:
        id = bars.add_task(description, total=total, rate="")
        (task,) = bars.tasks
        started, done = time.monotonic(), 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            bars.update(id, advance=units, rate=f"{task.finished_speed or task.speed or 0:,.1f} {unit}/s")

        yield advance
        seconds = time.monotonic() - started
    finally:
        with suppress(OSError):  # a terminal that is gone must not hide how the loop ended
            bars.stop()
    if seconds > SHOWN_AFTER_SECONDS:
        line = f"{description}: {done:,.0f} {unit} in {seconds:.1f} s ({done / seconds:,.1f} {unit}/s)"
        stderr.print(line, style="dim")
