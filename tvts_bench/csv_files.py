"""CSV as this project writes it: rows of numbers as they are, and of text that no spreadsheet runs."""

import csv
import io
import re
from collections.abc import Iterable

from tvts_bench.printable import printable

# What spreadsheets take for a formula, also in full width, after blanks, or behind apostrophes of names themselves.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV with line feeds.

    Text that a spreadsheet would run gets an apostrophe in front, as OWASP advises against "CSV injection"; taking one
    apostrophe off a cell that begins so gives the text back. What does not show itself is escaped (`printable`).
    Numbers stay numbers: -0.5 is written as such, "-0.5" is text.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if _FORMULA.match(shown) else shown
