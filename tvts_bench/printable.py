"""Names from data as text that can be shown: what would steer a terminal or deceive a reader becomes an escape.

File names, classes, tensors and the messages of libraries that quote them are written by strangers. Letters of every
script, combining marks and emoji stay as they are. Markdown takes such a text as it is, and no spreadsheet runs it.
"""

import csv
import io
import re
from collections.abc import Iterable

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks that Unicode defines as invisible
_STEERING = (
    r"\x00-\x1f\x7f-\x9f"  # controls: ESC, backspace, line ends, and those that C1 has for the same
    r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, nothing, lines
    r"\ud800-\udfff"  # bytes of a name that are no UTF-8
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # tags spell words that nobody sees
)
_JOINED = r"\u0600-\u1cff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"  # scripts and emoji that joiners change the look of
_HIDDEN = re.compile(rf"[{_STEERING}{_BLANK}]|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])")
_HIDDEN_BUT_LINES = re.compile(_HIDDEN.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))

# What Markdown would take for markup: emphasis, code, tables, HTML, strikethrough and mathematics; underscores within
# words do nothing; brackets make a link only before one of "([:"; entities; and what begins a heading or a list.
_MARKDOWN = re.compile(
    r"[\\`*|<>~$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)|^[#+-](?=[#+\s-]|$)|(?<=^\d)[.)](?=\s)", flags=re.ASCII
)

# What spreadsheets take for a formula, also in full width, after blanks, or behind apostrophes of names themselves.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")


def printable(text: str, *, keep_lines: bool = False) -> str:
    r"""`text` on one line, with what does not show itself written as `\x1b`, `\u202e`, `\n`.

    Args:
        text: of any origin.
        keep_lines: line feeds are ours and stay.
    """
    return (_HIDDEN_BUT_LINES if keep_lines else _HIDDEN).sub(_escape, text)


def in_markdown(text: str) -> str:
    """`text`, printable, that Markdown takes as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text))


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


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
