"""A filled table as text in rows and columns, before any mark-up: what people read, the same in every format.

It is made of the table's JSON document (`model.as_document`), so a page of documents on disk shows the same texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_lowercase
from typing import Any, Literal

from tvts_bench.tables.base import FAILED, TITLES, dataset_in_words
from tvts_bench.tables.notes import p_in_words

Kind = Literal["name", "label", "published", "measured", "difference", "number", "coverage"]
"""Of a column: the method, what the paper says of it, numbers, how much of the data they are of."""
NUMBERS = {"published": "published", "measured": "measured", "difference": "measured less published", "number": ""}
"""Kinds of columns with numbers, as tables write them; nothing where the heading says it all."""
Document = Mapping[str, Any]
"""A table's JSON document, or an object in it."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """The content of one cell."""

    text: str = ""
    bold: bool = False
    extra: str = ""  # beside or below the text: interval, spread
    mark: str = ""  # behind it, raised: "*" or the letter of a note
    runs: tuple[str, ...] = ()  # keys of what it is made of
    what: str = ""  # which number it is
    in_words: str = ""  # the number in words, with its interval and what it is compared with


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The heading of a column."""

    text: str
    kind: Kind = "name"
    data: str = ""  # what numbers are of

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers."""
        return self.kind in NUMBERS

    @property
    def group(self) -> str:
        """What neighbouring columns share."""
        return ", ".join(part for part in (NUMBERS.get(self.kind), self.data) if part)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row, and whether a new group begins with it."""

    group: str
    begins: bool
    texts: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """A table to be marked up."""

    title: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    reasons: tuple[str, ...] = ()  # of what failed or could not run, by letter
    notes: tuple[str, ...]

    @property
    def spans(self) -> list[tuple[Heading, int]]:
        """First heading and width of each group of columns; a column without a group is alone."""
        keys = [(heading.group, 0 if heading.group else number) for number, heading in enumerate(self.headings)]
        groups = [list(members) for _, members in groupby(range(len(keys)), key=keys.__getitem__)]
        return [(self.headings[members[0]], len(members)) for members in groups]


def lay_out(
    document: Document,
    *,
    published: bool = True,
    measured: bool = True,
    labels: bool = True,
    dataset: str | None = None,
) -> TableLayout:
    """The table as text.

    Args:
        document: of a filled table.
        published: with the paper's rows and columns.
        measured: with what was measured, its rows and columns.
        labels: with what the paper says of each method beside its name.
        dataset: only the columns of this one.

    Returns:
        With a letter for each reason, and the notes.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not such a document.
    """
    shown = _Shown(document, published=published, measured=measured, labels=labels, dataset=dataset)
    lines: list[Line] = []
    for row in shown.rows:
        begins = bool(row["group"]) and (not lines or lines[-1].group != row["group"])
        lines.append(Line(group=row["group"], begins=begins, texts=shown.texts(row)))
    return TableLayout(
        title=document["title"],
        headings=shown.headings(),
        lines=tuple(lines),
        reasons=tuple(f"[{letter}] {reason}" for reason, letter in shown.letters.items()),
        notes=tuple(map(str, document["notes"])),
    )


class _Shown:
    """Which rows and columns of a document are shown: names, labels, published, measured, differences, coverage."""

    def __init__(
        self, document: Document, *, published: bool, measured: bool, labels: bool, dataset: str | None
    ) -> None:
        columns = [column for column in document["columns"] if dataset in (None, column["dataset"])]
        self.document = document
        self.cells = {(cell["row"], cell["column"]): cell for cell in document["cells"]}
        self.rows = [
            row
            for row in document["rows"]
            if (published and row["paper"]) or (measured and any(cell["status"] for cell in self.of_row(row, columns)))
        ]
        self.labels = [
            name for name in document["labels"] if labels and any(row["labels"].get(name) for row in self.rows)
        ]
        self.published = [column for column in columns if published and column["published"]]
        self.measured = columns if measured else []
        every = [cell for row in self.rows for cell in self.of_row(row, self.measured)]
        self.differing = [
            column
            for column in self.measured
            if any(cell["difference"] is not None for cell in every if cell["column"] == column["name"])
        ]
        self.covered = any(cell["measured"] and not cell["measured"]["complete"] for cell in every)
        self.letters: dict[str, str] = {}  # reason -> its letter, in the order in which they are met

    def of_row(self, row: Document, columns: Sequence[Document]) -> list[Document]:
        """The row's cells in these columns."""
        return [self.cells[row["name"], column["name"]] for column in columns]

    def headings(self) -> tuple[Heading, ...]:
        """Of all columns."""
        headings = [Heading(text="method")]
        headings += [Heading(text=self.document["labels"][name], kind="label") for name in self.labels]
        headings += [Heading(text=c["heading"], kind="published", data=_real(c)) for c in self.published]
        headings += [Heading(text=_qualified(c), kind="measured", data=c["measured_on"]) for c in self.measured]
        headings += [Heading(text=c["heading"], kind="difference", data=_real(c)) for c in self.differing]
        return tuple([*headings, Heading(text="coverage", kind="coverage")] if self.covered else headings)

    def texts(self, row: Document) -> tuple[Text, ...]:
        """Of one row."""
        texts = [Text(text=row["name"]), *(Text(text=row["labels"].get(name, "")) for name in self.labels)]
        texts += [
            Text(text=_published(cell["published"]), bold=cell["best_published"])
            for cell in self.of_row(row, self.published)
        ]
        measured = self.of_row(row, self.measured)
        texts += [self._measured(cell, column) for cell, column in zip(measured, self.measured, strict=True)]
        differences = [cell["difference"] for cell in self.of_row(row, self.differing)]
        texts += [Text(text="" if difference is None else f"{difference:+.1f}") for difference in differences]
        return tuple([*texts, Text(text=_coverage(measured))] if self.covered else texts)

    def _measured(self, cell: Document, column: Document) -> Text:
        letter = f"[{self._letter(cell['reason'])}]" if cell["reason"] else ""
        measured, versus = cell["measured"], cell["versus"]
        if measured is None:
            return Text(text=cell["status"], mark=letter)
        spread = "" if measured["spread"] is None else f"± {measured['spread']:.1f} "
        interval = "" if measured["low"] is None else f"[{measured['low']:.1f}, {measured['high']:.1f}]"
        return Text(
            text=f"{measured['value']:.1f}",
            bold=cell["best"],
            extra=f"{spread}{interval}".strip(),
            mark=("*" if versus and versus["significant"] else "") + letter,
            runs=tuple(run["key"] for run in measured["runs"]),
            what=f"{cell['row']}, {column['heading']} on {column['measured_on']}",
            in_words=_in_words(measured, versus),
        )

    def _letter(self, reason: str) -> str:
        """Its letter: a, b, ... z, then a1, b1."""
        number = len(self.letters)
        letter = ascii_lowercase[number % 26] + (str(number // 26) if number >= 26 else "")
        return self.letters.setdefault(reason, letter)


def _real(column: Document) -> str:
    """The public data set, as tables print it."""
    return TITLES.get(str(column["dataset"]), str(column["dataset"]))


def _qualified(column: Document) -> str:
    """The heading; with the protocol where it is not the paper's."""
    return column["heading"] if column["protocol"]["like_paper"] else f"{column['heading']} (cached)"


def _published(value: float | str | None) -> str:
    return "" if value is None else FAILED if isinstance(value, str) else f"{value:.1f}"


def _in_words(measured: Document, versus: Document | None) -> str:
    """A number, its interval, and the row that it is compared with."""
    interval = "" if measured["low"] is None else f", 95 % interval {measured['low']:.2f} to {measured['high']:.2f}"
    seeds = "" if measured["spread"] is None else f", mean of {len(measured['runs'])} seeds ± {measured['spread']:.2f}"
    words = f"{measured['value']:.2f} % of {measured['clips']:,} clips{interval}{seeds}"
    if versus:
        bounds = "" if versus["low"] is None else f" [{versus['low']:+.2f}, {versus['high']:+.2f}]"
        against = f"{versus['difference']:+.2f}{bounds}, p {p_in_words(versus['p'])}"
        words += f"; less {versus['baseline']}: {against} ({versus['test']})"
    return words


def _coverage(cells: Sequence[Document]) -> str:
    """How much of each split was measured, the least where it comes twice; nothing for a row without numbers."""
    least: dict[str, float] = {}
    for measured in (cell["measured"] for cell in cells if cell["measured"]):
        for part in measured["parts"]:
            name = f"{dataset_in_words(str(measured['runs'][0]['dataset']['name']))} {part['split']}"
            least[name] = min(part["percent"], least.get(name, part["percent"]))
    return ", ".join(f"{name} {percent:.4g} %" for name, percent in least.items())
