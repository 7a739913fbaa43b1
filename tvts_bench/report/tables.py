"""A table's JSON document as rows and columns of the page; every measured number knows its runs.

Measured columns come first, so that a phone shows them without scrolling.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvts_bench.tables.base import TITLES
from tvts_bench.tables.layout import Letters, coverage_in_words
from tvts_bench.tables.notes import p_in_words

FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """The content of one cell of the table."""

    text: str = ""
    extra: str = ""  # below it: interval, spread
    mark: str = ""  # raised: "*", the letter of a note
    kind: str = ""  # of its column: label, published, measured, difference
    best: bool = False
    runs: tuple[str, ...] = ()  # keys of what it is made of
    what: str = ""  # which number it is
    in_words: str = ""  # the number in words, with its interval and what it is compared with


@dataclass(frozen=True, kw_only=True)
class HeadingView:
    """A column, and what its neighbours share with it."""

    text: str
    group: str = ""
    kind: str = "label"


@dataclass(frozen=True, kw_only=True)
class RowView:
    """A row."""

    name: str
    group: str
    begins: bool  # a new group begins with it
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table of the page."""

    name: str
    title: str
    headings: tuple[HeadingView, ...]
    lines: tuple[RowView, ...]
    reasons: tuple[str, ...]  # of what failed or could not run, by letter
    notes: tuple[str, ...]

    @property
    def spans(self) -> tuple[tuple[str, str, int], ...]:
        """Text, kind and width of the headings above headings."""
        spans: list[tuple[str, str, int]] = []
        for heading in self.headings:
            if spans and spans[-1][0] == heading.group and heading.group:
                spans[-1] = (heading.group, heading.kind, spans[-1][2] + 1)
            else:
                spans.append((heading.group, heading.kind, 1))
        return tuple(spans)


def table_view(document: Mapping[str, Any]) -> TableView:
    """The view of a document of `tables.document`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not one.
    """
    return _Reader(document).view()


class _Reader:
    """One document on its way to the page."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.cells = {(cell["row"], cell["column"]): cell for cell in document["cells"]}
        columns: Sequence[Mapping[str, Any]] = document["columns"]
        self.rows = [row for row in document["rows"] if row["paper"] or self._is_requested(row, columns)]
        self.labels = [label for label in document["labels"] if any(row["labels"].get(label) for row in self.rows)]
        self.columns = columns
        self.published = [column for column in columns if column["published"]]
        self.differing = [column for column in columns if self._any(column, "difference")]
        self.covered = any(cell["measured"] and not cell["measured"]["complete"] for cell in self.cells.values())
        self.letters = Letters()

    def view(self) -> TableView:
        """The whole table."""
        lines: list[RowView] = []
        for row in self.rows:
            begins = bool(row["group"]) and (not lines or lines[-1].group != row["group"])
            cells = tuple(self._cells(row))
            lines.append(RowView(name=row["name"], group=row["group"], begins=begins, cells=cells))
        return TableView(
            name=self.document["table"],
            title=self.document["title"],
            headings=tuple(self._headings()),
            lines=tuple(lines),
            reasons=tuple(f"[{letter}] {reason}" for reason, letter in self.letters.reasons.items()),
            notes=tuple(str(note) for note in self.document["notes"]),
        )

    def _is_requested(self, row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> bool:
        return any(self.cells[row["name"], column["name"]]["status"] for column in columns)

    def _any(self, column: Mapping[str, Any], field: str) -> bool:
        return any(self.cells[row["name"], column["name"]][field] is not None for row in self.rows)

    def _headings(self) -> Iterator[HeadingView]:
        for column in self.columns:
            cached = "" if column["protocol"]["like_paper"] else " (cached)"
            group = f"measured, {column['measured_on']}"
            yield HeadingView(text=f"{column['heading']}{cached}", group=group, kind="measured")
        for column in self.differing:
            group = f"measured less published, {_real(column)}"
            yield HeadingView(text=column["heading"], group=group, kind="difference")
        for column in self.published:
            yield HeadingView(text=column["heading"], group=f"published, {_real(column)}", kind="published")
        if self.covered:
            yield HeadingView(text="coverage")
        for label in self.labels:
            yield HeadingView(text=self.document["labels"][label])

    def _cells(self, row: Mapping[str, Any]) -> Iterator[TableCell]:
        for column in self.columns:
            yield self._measured(self.cells[row["name"], column["name"]], column)
        for column in self.differing:
            difference = self.cells[row["name"], column["name"]]["difference"]
            yield TableCell(text="" if difference is None else f"{difference:+.1f}", kind="difference")
        for column in self.published:
            cell = self.cells[row["name"], column["name"]]
            yield TableCell(text=_published(cell["published"]), kind="published", best=cell["best_published"])
        if self.covered:
            yield TableCell(text=self._coverage(row), kind="label")
        for label in self.labels:
            yield TableCell(text=row["labels"].get(label, ""), kind="label")

    def _measured(self, cell: Mapping[str, Any], column: Mapping[str, Any]) -> TableCell:
        letter = f"[{self.letters.of(cell['reason'])}]" if cell["reason"] else ""
        measured = cell["measured"]
        if measured is None:
            return TableCell(text=cell["status"], mark=letter, kind="measured")
        versus = cell["versus"]
        spread = "" if measured["spread"] is None else f"± {measured['spread']:.1f} "
        interval = "" if measured["low"] is None else f"[{measured['low']:.1f}, {measured['high']:.1f}]"
        return TableCell(
            text=f"{measured['value']:.1f}",
            extra=f"{spread}{interval}".strip(),
            mark=("*" if versus and versus["significant"] else "") + letter,
            kind="measured",
            best=cell["best"],
            runs=tuple(run["key"] for run in measured["runs"]),
            what=f"{cell['row']}, {column['heading']} on {column['measured_on']}",
            in_words=_in_words(measured, versus),
        )

    def _coverage(self, row: Mapping[str, Any]) -> str:
        cells = [self.cells[row["name"], column["name"]]["measured"] for column in self.columns]
        return coverage_in_words(
            (str(measured["runs"][0]["dataset"]["name"]), part["split"], part["percent"])
            for measured in cells
            if measured
            for part in measured["parts"]
        )


def _real(column: Mapping[str, Any]) -> str:
    dataset = str(column["dataset"])
    return TITLES.get(dataset, dataset)


def _published(value: float | str | None) -> str:
    return "" if value is None else FAILED if isinstance(value, str) else f"{value:.1f}"


def _in_words(measured: Mapping[str, Any], versus: Mapping[str, Any] | None) -> str:
    interval = "" if measured["low"] is None else f", 95 % interval {measured['low']:.2f} to {measured['high']:.2f}"
    seeds = "" if measured["spread"] is None else f", mean of {len(measured['runs'])} seeds ± {measured['spread']:.2f}"
    words = f"{measured['value']:.2f} % of {measured['clips']:,} clips{interval}{seeds}"
    if versus:
        bounds = "" if versus["low"] is None else f" [{versus['low']:+.2f}, {versus['high']:+.2f}]"
        against = f"{versus['difference']:+.2f}{bounds}, p {p_in_words(versus['p'])}"
        words += f"; less {versus['baseline']}: {against} ({versus['test']})"
    return words
