"""The two consoles every command prints to: tables to standard output, everything else to standard error.

Whatever is printed is text: names from data bring no markup, no links, no escape sequences of terminals and no lines of
their own. What is to be bold or to have several lines is a `rich.text.Text`.
"""

from collections.abc import Iterable
from contextlib import suppress

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tvts_bench.printable import printable


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
