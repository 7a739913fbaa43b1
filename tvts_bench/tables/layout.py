"""A filled table as text in rows and columns, before any mark-up: what people read, the same in every format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

from tvts_bench.tables.base import FAILED, TITLES, Column, TableRow, dataset_in_words
from tvts_bench.tables.model import Cell, FilledTable


@dataclass(frozen=True, kw_only=True)
class Text:
    """The content of one cell."""

    text: str = ""
    bold: bool = False
    extra: str = ""  # beside or below the text: interval, spread
    mark: str = ""  # behind it, raised: "*" or the letter of a note


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The heading of a column."""

    text: str
    kind: str = ""  # of neighbouring columns: published, measured
    data: str = ""  # what they are of
    numbers: bool = True

    @property
    def group(self) -> str:
        """What neighbouring columns share."""
        return ", ".join(part for part in (self.kind, self.data) if part)


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
    notes: tuple[str, ...]


@dataclass(eq=False)
class Letters:
    """A letter for each different reason, in the order in which they are met."""

    reasons: dict[str, str] = field(default_factory=dict)

    def of(self, reason: str) -> str:
        """Its letter: a, b, ... z, then a1, b1."""
        number = len(self.reasons)
        letter = ascii_lowercase[number % 26] + (str(number // 26) if number >= 26 else "")
        return self.reasons.setdefault(reason, letter)


def lay_out(
    table: FilledTable,
    *,
    published: bool = True,
    measured: bool = True,
    labels: bool = True,
    dataset: str | None = None,
) -> TableLayout:
    """The table as text.

    Args:
        table: with its cells.
        published: with the paper's rows and columns.
        measured: with what was measured, its rows and columns.
        labels: with what the paper says of each method beside its name.
        dataset: only the columns of this one.

    Returns:
        With a letter for each reason, and the notes.
    """
    if dataset is not None:
        table = replace(table, columns=tuple(column for column in table.columns if column.dataset == dataset))

    rows = [
        row
        for row in table.rows
        if (published and row.published) or (measured and any(table.cell(row, c).status for c in table.columns))
    ]
    shown = _Columns(table=table, rows=rows, published=published, measured=measured, labels=labels)
    letters = Letters()
    lines: list[Line] = []
    for row in rows:
        begins = not lines or lines[-1].group != row.group
        lines.append(Line(group=row.group, begins=begins, texts=shown.texts(row, letters)))
    reasons = tuple(f"[{letter}] {reason}" for reason, letter in letters.reasons.items())
    return TableLayout(title=table.title, headings=shown.headings(), lines=tuple(lines), notes=(*reasons, *table.notes))


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Which columns there are: labels, published, measured, differences, coverage."""

    table: FilledTable
    rows: Sequence[TableRow]  # those that are shown
    published: bool
    measured: bool
    labels: bool

    @property
    def _labels(self) -> tuple[str, ...]:
        """Label columns in which any row says something."""
        used = [label for label in self.table.table.labels if any(row.labels.get(label) for row in self.rows)]
        return tuple(used) if self.labels else ()

    @property
    def _published(self) -> tuple[Column, ...]:
        return tuple(column for column in self.table.columns if column.published) if self.published else ()

    @property
    def _measured(self) -> tuple[Column, ...]:
        return self.table.columns if self.measured else ()

    @property
    def _differing(self) -> tuple[Column, ...]:
        """Columns with a difference to the published number."""
        return tuple(
            column
            for column in self._measured
            if any(self.table.cell(row, column).difference is not None for row in self.rows)
        )

    @property
    def _covered(self) -> bool:
        """Whether coverage is shown."""
        return self.measured and any(
            (cell := self.table.cell(row, column)).measured and not cell.measured.complete
            for row in self.rows
            for column in self.table.columns
        )

    def headings(self) -> tuple[Heading, ...]:
        """Of all columns."""
        table = self.table
        headings = [Heading(text="method", numbers=False)]
        headings += [Heading(text=table.table.labels[label], numbers=False) for label in self._labels]
        headings += [Heading(text=column.heading, kind="published", data=_real(column)) for column in self._published]
        headings += [
            Heading(text=_qualified(table, column), kind="measured", data=table.measured_on[column.name])
            for column in self._measured
        ]
        headings += [Heading(text=c.heading, kind="measured less published", data=_real(c)) for c in self._differing]
        return tuple([*headings, Heading(text="coverage", numbers=False)] if self._covered else headings)

    def texts(self, row: TableRow, letters: Letters) -> tuple[Text, ...]:
        """Of one row."""
        table = self.table
        texts = [Text(text=row.name), *(Text(text=row.labels.get(label, "")) for label in self._labels)]
        texts += [_published_text(table.cell(row, column)) for column in self._published]
        texts += [_measured_text(table.cell(row, column), letters) for column in self._measured]
        for column in self._differing:
            difference = table.cell(row, column).difference
            texts.append(Text(text="" if difference is None else f"{difference:+.1f}"))
        return tuple([*texts, Text(text=_coverage(table, row))] if self._covered else texts)


def _real(column: Column) -> str:
    return TITLES.get(column.dataset, column.dataset)


def _qualified(table: FilledTable, column: Column) -> str:
    """The heading; with the protocol where it is not the paper's."""
    protocol = table.protocols[column.name]
    return column.heading if protocol.like_paper else f"{column.heading} (cached)"


def _published_text(cell: Cell) -> Text:
    if cell.published is None:
        return Text()
    text = FAILED if cell.published == FAILED else f"{cell.published:.1f}"
    return Text(text=text, bold=cell.best_published)


def _measured_text(cell: Cell, letters: Letters) -> Text:
    letter = f"[{letters.of(cell.reason)}]" if cell.reason else ""
    measured = cell.measured
    if measured is None:
        return Text(text=cell.status, mark=letter)
    spread = "" if measured.spread is None else f"± {measured.spread:.1f} "
    interval = "" if measured.low is None else f"[{measured.low:.1f}, {measured.high:.1f}]"
    star = "*" if cell.versus and cell.versus.significant else ""
    return Text(
        text=f"{measured.value:.1f}", bold=cell.best, extra=f"{spread}{interval}".strip(), mark=f"{star}{letter}"
    )


def _coverage(table: FilledTable, row: TableRow) -> str:
    """How much of each data set was measured; nothing for a row without numbers."""
    numbers = [measured for column in table.columns if (measured := table.cell(row, column).measured)]
    return coverage_in_words(
        (str(measured.runs[0].dataset["name"]), part.split, part.percent)
        for measured in numbers
        for part in measured.parts
    )


def coverage_in_words(parts: Iterable[tuple[str, str, float]]) -> str:
    """Data sets (`Dataset.name`), splits and percents of them as text; of a split that comes twice the least."""
    least: dict[str, float] = {}
    for dataset, split, percent in parts:
        name = f"{dataset_in_words(dataset)} {split}"
        least[name] = min(percent, least.get(name, percent))
    return ", ".join(f"{name} {percent:.4g} %" for name, percent in least.items())
