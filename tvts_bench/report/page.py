"""Everything that a folder of results holds, as one page."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvts_bench.printable import printable
from tvts_bench.report import curves
from tvts_bench.report.charts import Chart
from tvts_bench.report.curves import CurveView
from tvts_bench.report.folder import Contents
from tvts_bench.report.gallery import GalleryView, gallery
from tvts_bench.report.grids import GridView, grid_view, table_grid_view
from tvts_bench.report.groups import Group, charts, grouped
from tvts_bench.report.run_cards import Card, cards, cited
from tvts_bench.report.videos import FRAMES, Strips
from tvts_bench.results import ResultError, load
from tvts_bench.results.index import StoredResult
from tvts_bench.runtime import Progress, silent
from tvts_bench.tables.layout import TableLayout, lay_out
from tvts_bench.version import VERSION

if TYPE_CHECKING:
    from jinja2 import Environment

QUERIES = 24  # in the gallery of a data set
KINDS = ("name", "measured", "difference", "published", "coverage", "label")  # of the columns of tables, in their order


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportPage:
    """The parts of the page."""

    tables: tuple[TableLayout, ...] = ()
    groups: tuple[tuple[Group, tuple[Chart, ...]], ...] = ()  # with their charts
    grids: tuple[GridView, ...] = ()
    curves: tuple[CurveView, ...] = ()
    galleries: tuple[GalleryView, ...] = ()
    cards: tuple[Card, ...] = ()
    left_out: tuple[str, ...] = ()
    strips: Strips = field(default_factory=Strips)

    @property
    def known(self) -> frozenset[str]:
        """Keys of the runs that have a card."""
        return frozenset(card.key for card in self.cards)


def build(
    contents: Contents,
    *,
    queries: int = QUERIES,
    roots: Mapping[str, Path] | None = None,
    progress: Progress = silent,
) -> ReportPage:
    """The parts of the page, pictures read.

    Args:
        contents: of the folder of results.
        queries: in the gallery of each data set; 0: no gallery.
        roots: data set -> folder of its videos, where they are elsewhere than where they were measured.
        progress: shows how videos are read.

    Returns:
        What `render` takes.
    """
    left_out = list(contents.left_out)
    documents = list(_valid(contents, left_out))
    groups = grouped(contents.results, _titles(documents))
    strips = Strips()
    galleries = [gallery(group, queries, strips, roots or {}, progress) for group in groups]
    shown = {grid.record.grid for grid in contents.grids}
    from_tables = (each for each in documents if each["grid"] and each["grid"] not in shown)
    grid_views = [table_grid_view(document, f"t{number}") for number, document in enumerate(from_tables)]
    grid_views += [grid_view(grid, f"a{number}") for number, grid in enumerate(contents.grids)]
    results = [*contents.results]
    results += (each for grid in contents.grids for stages in grid.results.values() for each in chain(*stages.values()))
    results += _cited(documents, {stored.result.run.key for stored in results}, contents.folder)
    return ReportPage(
        tables=tuple(_table(document) for document in documents),
        groups=tuple((group, charts(group)) for group in groups),
        grids=tuple(grid for grid in grid_views if grid.charts or grid.outcomes),
        curves=tuple(_curves(contents, left_out)),
        galleries=tuple(each for each in galleries if each is not None),
        cards=cards(results, documents, contents.folder),
        left_out=tuple(left_out),
        strips=strips,
    )


def render(report: ReportPage) -> str:
    """The page. Equal reports make equal bytes; nothing in it is loaded from elsewhere."""
    script = _part("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("page.html")
    return page.render(
        report=report,
        style=_part("style.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        version=VERSION,
        frames=FRAMES,
    )


def _valid(contents: Contents, left_out: list[str]) -> Iterator[Mapping[str, Any]]:
    """The documents that really are tables: those that make a page when they are alone on it."""
    for document in contents.tables:
        try:
            _titles([document])
            views = (table_grid_view(document, "t"),) if {document["grid"]} != {None} else ()
            render(ReportPage(tables=(_table(document),), grids=views, cards=cards((), [document], contents.folder)))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            name = document.get("table")
            left_out.append(f"left out table {name}: its JSON is not of this version ({error!r}); make it again")
            continue
        yield document


def _table(document: Mapping[str, Any]) -> TableLayout:
    """A table with the measured columns first."""
    layout = lay_out(document)
    order = sorted(range(len(layout.headings)), key=lambda number: KINDS.index(layout.headings[number].kind))
    lines = (replace(line, texts=tuple(line.texts[number] for number in order)) for line in layout.lines)
    return replace(layout, headings=tuple(layout.headings[number] for number in order), lines=tuple(lines))


def _titles(documents: list[Mapping[str, Any]]) -> dict[str, str]:
    """What tables call a run: the row, where all agree."""
    rows: dict[str, set[str]] = {}
    for row, run in cited(documents):
        rows.setdefault(run["key"], set()).add(row)
    return {key: next(iter(names)) for key, names in rows.items() if len(names) == 1}


def _cited(documents: list[Mapping[str, Any]], known: set[str], folder: Path) -> Iterator[StoredResult]:
    """Results that tables are made of and that lie elsewhere, as the cells of a grid do, where they are still there."""
    files = {run["key"]: folder / str(run["file"]) for _, run in cited(documents)}
    for key, path in files.items():
        if key in known:
            continue
        with suppress(ResultError):
            result = load(path)
            if result.run.key == key:
                yield StoredResult(result=result, path=path)


def _curves(contents: Contents, left_out: list[str]) -> Iterator[CurveView]:
    views = [curves.of_grid(grid, f"c{number}", left_out) for number, grid in enumerate(contents.grids)]
    views += [curves.of_training(path, contents.folder, f"r{n}", left_out) for n, path in enumerate(contents.trainings)]
    return (view for view in views if view is not None)


def _part(name: str) -> str:
    return (files("tvts_bench.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(_part),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    """A value of the page as text; markup of our own is a subclass of str and stays as it is."""
    return printable(value) if type(value) is str else value
