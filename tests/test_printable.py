"""Text from strangers: what steers or deceives is escaped where it is shown, what people write is left as it is."""

import csv
import io
import logging
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from tvts_bench.cli.console import TextConsole
from tvts_bench.cli.main import PrintableFormatter
from tvts_bench.printable import csv_text, in_markdown, printable

HARMLESS = (
    "Приготовление борща",
    "跳绳・縄跳び",
    "مرحبا بالعالم",
    "שלום",
    "नमस्\u200dते",  # a joiner that Devanagari is written with
    "می\u200cخواهم",  # and one of Persian
    "e\u0301te\u0301 naïf",
    "👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🧑🏽\u200d🚀",
    r"C:\clips\new_[a]",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]8;;http://x\x07link", r"\x1b]8;;http://x\x07link"),
        ("\x9b2J", r"\x9b2J"),  # what ESC [ is in C1
        ("good\nerror: bad", r"good\nerror: bad"),
        ("good\rbad\x08\x08", r"good\rbad\x08\x08"),
        ("a\tb\x0bc\x85d\u2028e\u2029f", r"a\tb\x0bc\x85d\u2028e\u2029f"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", r"\u2066a\u2069\u200e\u200f\u061c"),
        ("a\u200bb\ufeffc\u2060d\xade", r"a\u200bb\ufeffc\u2060d\xade"),
        ("ru\u200dn", r"ru\u200dn"),  # where no letter changes its form, a joiner is there to hide
        ("\u3164\U000e0061", r"\u3164\U000e0061"),
        ("\udcff.mp4", r"\udcff.mp4"),  # a byte of a name that is no UTF-8
    ],
)
def test_what_does_not_show_itself_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_is_left_that_steers_a_terminal(text: str) -> None:
    left = {character for character in printable(text) if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}
    assert not left
    assert printable(printable(text)) == printable(text)
    assert printable(text, keep_lines=True).replace("\n", r"\n") == printable(text)


def test_no_character_of_direction_or_of_no_width_passes() -> None:
    passing = {
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) == "Cf" and printable(character) == character
    }
    # Signs that scripts write, with a shape of their own: of numbers in Arabic, Kaithi and Syriac, of hieroglyphs.
    assert {unicodedata.name(each).split()[0] for each in passing} <= {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"}


def console(monkeypatch: pytest.MonkeyPatch) -> TextConsole:
    """One that takes itself for a terminal, with colours and links."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    made = TextConsole()
    made.file = io.StringIO()
    return made


EVIL = "[bold]x[/] [/] [link=http://y]z[/link] :smile: \x1b]8;;http://e\x07\u202e\nerror: fake"
SHOWN = r"[bold]x[/] [/] [link=http://y]z[/link] :smile: \x1b]8;;http://e\x07\u202e\nerror: fake"


def test_the_console_takes_no_markup_and_no_escape_sequences_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = console(monkeypatch)
    shown.print(EVIL, style="red", soft_wrap=True)
    out = shown.file.getvalue()  # type: ignore[attr-defined]
    assert re.sub(r"\x1b\[[\d;]*m", "", out) == f"{SHOWN}\n"
    assert "\x1b[31m" in out  # its own style


def test_tables_keep_their_lines_whatever_stands_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = console(monkeypatch)
    table = Table(title=EVIL[:20], caption="\x1b[2J")
    table.add_column("\u202eheading")
    table.add_row("\x1b[2Ja\x08b")
    table.add_row(Text("\x1b[2J\u202e"))
    shown.print(table)
    out = re.sub(r"\x1b\[[\d;]*m", "", shown.file.getvalue())  # type: ignore[attr-defined]
    assert not {"\x1b", "\u202e", "\x08"} & set(out)
    assert r"\x1b[2Ja\x08b" in out
    framed = [line for line in out.splitlines() if line.startswith("│") and r"\x08" in line]
    assert [len(line) for line in framed] == [max(map(len, out.splitlines()[1:-1]))]


def test_log_records_are_a_line_each_and_tracebacks_keep_theirs() -> None:
    formatter = PrintableFormatter("%(levelname)s %(name)s: %(message)s")
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "bad clip %s", ("a\x1b[2J\nerror: b",), None)
    assert formatter.format(record) == r"WARNING x: bad clip a\x1b[2J\nerror: b"
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record.exc_info = sys.exc_info()
    lines = formatter.format(record).splitlines()
    assert lines[1].startswith("Traceback")
    assert lines[-1] == r"ValueError: \x1b[2J"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("[a](http://x) ![b](y) [c][d] [e]: f", r"[a\](http://x) ![b\](y) [c\][d] [e\]: f"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("a|b `c` *d* ~~e~~ $f$", r"a\|b \`c\` \*d\* \~\~e\~\~ \$f\$"),
        ("&#x202e; &lt; A & B", r"\&#x202e; \&lt; A & B"),
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("_a_ b_c", r"\_a\_ b_c"),
        ("a\n\n# b\x1b", r"a\\n\\n# b\\x1b"),
        ("-0.5 [10.0, 15.0]", "-0.5 [10.0, 15.0]"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, written: str) -> None:
    assert in_markdown(text) == written


@pytest.mark.parametrize("text", ["=1+1", "+x", "-foo.mp4", "@x.mp4", " =x", "＝x", "'=x"])
def test_csv_has_no_text_that_a_spreadsheet_would_run(text: str) -> None:
    ((cell,),) = csv.reader(io.StringIO(csv_text([[text]])))
    assert cell == f"'{text}"


def test_csv_keeps_numbers_and_other_text() -> None:
    rows = [["a,b", -0.5, 3, None, 'say "x"', "a=b", "'quoted'", "1-2", "-0.5"]]
    written = csv_text(rows)
    assert next(csv.reader(io.StringIO(written))) == [
        *("a,b", "-0.5", "3", "", 'say "x"', "a=b", "'quoted'", "1-2", "'-0.5"),
    ]


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "a\n=1", "\x1b[2J"])
def test_csv_is_a_line_a_row(text: str) -> None:
    assert csv_text([[text], ["b"]]) == f"{printable(text)}\nb\n"
