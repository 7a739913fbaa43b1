"""What a folder of results holds for the page. Whatever cannot be taken is named, never mixed with the rest."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvts_bench.errors import UserError
from tvts_bench.results import Result, ResultError, load, read_json
from tvts_bench.results.grids import (
    CELLS,
    GRIDS,
    CellRecord,
    GridError,
    GridRecord,
    grid_names,
    grid_roots,
    read_cell,
    read_grid,
    stage_results,
)
from tvts_bench.results.index import StoredResult
from tvts_bench.tables.model import FOLDER as TABLES
from tvts_bench.tables.model import SCHEMA as TABLE_SCHEMA
from tvts_bench.typed_json import typed

NOT_RESULTS = {TABLES, GRIDS, CELLS}  # folders whose JSON is something else
CURVES = ("epochs.csv", "steps.csv", "metrics.jsonl")
PARTS = {"run", "metrics", "coverage", "provenance"}  # of a result; JSON with several of them means to be one
RESULT_NAME = re.compile(r"-[0-9a-f]{12}(\.\d+)?\.json$")


@dataclass(frozen=True, kw_only=True, eq=False)
class GridContents:
    """A grid, its cells that were begun, and their results."""

    root: Path  # the --out of `tvts-bench ablate`, or an archive
    name: str  # with the folder it lies in, where that is not the page's own: several may hold a grid of one name
    record: GridRecord
    cells: Mapping[str, CellRecord]  # by key
    damaged: frozenset[str]  # keys of cells whose records cannot be read
    results: Mapping[str, Mapping[str, tuple[StoredResult, ...]]]  # key of the cell -> name of the stage -> its results


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Everything the page is made from, in the order of file names."""

    folder: Path
    results: tuple[StoredResult, ...] = ()  # of commands and tables; those of cells are in the grids
    tables: tuple[Mapping[str, Any], ...] = ()  # documents, as `tables.as_document` makes them
    grids: tuple[GridContents, ...] = ()
    trainings: tuple[Path, ...] = ()  # folders with learning curves that belong to no cell
    left_out: tuple[str, ...] = field(default=())  # a sentence each


def read_contents(folder: Path) -> Contents:
    """Read `folder`: the --out of commands that measure, fill tables, or run grids.

    Results are looked for in the folder and in its folders; grids in the folder and in its folders, too.

    Raises:
        UserError: it is no folder, or holds nothing of ours that this version can read.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: give a folder of results, the --out of a command that measures")
    left_out = [f"left out {path}: it may not be read (permission denied)" for path in _folders(folder, readable=False)]
    contents = Contents(
        folder=folder,
        results=tuple(_results(folder, left_out)),
        tables=tuple(_tables(folder, left_out)),
        grids=tuple(grid for each in (folder, *_folders(folder)) for grid in _grids(each, folder, left_out)),
        trainings=tuple(_trainings(folder)),
        left_out=tuple(left_out),
    )
    if not (contents.results or contents.tables or contents.grids or contents.trainings):
        raise UserError(_nothing(folder, left_out))
    return contents


def _nothing(folder: Path, left_out: list[str]) -> str:
    if left_out:
        more = f" (and {len(left_out) - 1} other files)" if len(left_out) > 1 else ""
        return f"{folder} holds no results that this version can read: {left_out[0]}{more}"
    return (
        f"{folder} holds no results of tvts-bench (no result, table, grid or learning curve): give the --out of a"
        " command that measures, such as `tvts-bench retrieval --out results`"
    )


def _folders(folder: Path, *, readable: bool = True) -> list[Path]:
    """Those in `folder`, sorted, that may be read; or those that may not."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for path in folders if os.access(path, os.R_OK | os.X_OK) == readable]


def _results(folder: Path, left_out: list[str]) -> Iterator[StoredResult]:
    """Results in the folder and in its folders, each run once."""
    folders = [folder, *(path for path in _folders(folder) if path.name not in NOT_RESULTS)]
    seen: set[str] = set()
    for path in (path for each in folders for path in sorted(each.glob("*.json"))):
        result = _result(path, left_out)
        if result is None:
            continue
        if path.name != f"{result.stem}.json":
            left_out.append(f"left out {path}: it was renamed, or set aside for newer numbers of its run")
        elif result.run.key not in seen:
            seen.add(result.run.key)
            yield StoredResult(result=result, path=path)


def _result(path: Path, left_out: list[str]) -> Result | None:
    """The result in a file; None, and mostly a sentence, where it holds none."""
    try:
        document = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        left_out.append(f"left out {path}: it cannot be read ({error})")
        return None
    if not RESULT_NAME.search(path.name) and not (isinstance(document, dict) and len(PARTS & set(document)) > 1):
        return None  # JSON of something else: a status, a tokenizer, a file of the user's
    try:
        return load(path)
    except ResultError as error:
        left_out.append(f"left out: {error}")
        return None


def _tables(folder: Path, left_out: list[str]) -> Iterator[Mapping[str, Any]]:
    for path in sorted((folder / TABLES).glob("*.json")):
        try:
            document = typed(Mapping[str, Any], read_json(path))  # type: ignore[type-abstract]
        except (OSError, ValueError, RecursionError) as error:
            left_out.append(f"left out {path}: it cannot be read ({error})")
            continue
        if document.get("schema") != TABLE_SCHEMA or "table" not in document:
            left_out.append(f"left out {path}: not a table of this version of tvts-bench; make it again")
            continue
        yield document


def _grids(folder: Path, page: Path, left_out: list[str]) -> Iterator[GridContents]:
    """The grids of `folder`, which is that of the page or lies in it."""
    for root in grid_roots(folder):
        try:
            names = grid_names(root)
        except GridError as error:
            left_out.append(f"left out: {error}")
            continue
        for name in names:
            try:
                record = read_grid(root, name)
            except GridError as error:
                left_out.append(f"left out: {error}")
                continue
            assert record is not None  # its file is there
            cells, damaged = _cells(root, record, left_out)
            problems: list[str] = []
            results = {
                key: {stage.name: tuple(stage_results(root, key, stage, problems)) for stage in cell.stages}
                for key, cell in cells.items()
            }
            left_out += [f"left out: {problem}" for problem in problems]
            title = record.grid if folder == page else f"{record.grid} in {folder.name}"
            yield GridContents(root=root, name=title, record=record, cells=cells, damaged=damaged, results=results)


def _cells(root: Path, record: GridRecord, left_out: list[str]) -> tuple[dict[str, CellRecord], frozenset[str]]:
    """The cells of a grid that were begun, by key; the keys of those that cannot be read."""
    cells: dict[str, CellRecord] = {}
    damaged: set[str] = set()
    for key in sorted(record.keys):
        try:
            cell = read_cell(root, key)
        except GridError as error:
            left_out.append(f"left out: {error}")
            damaged.add(key)
            continue
        if cell is not None:
            cells[key] = cell
    return cells, frozenset(damaged)


def _trainings(folder: Path) -> Iterator[Path]:
    """Folders with curves: the folder, its folders, and theirs; not those of cells, which their grids name."""
    inner = [path for path in _folders(folder) if path.name not in NOT_RESULTS]
    for each in (folder, *inner, *(path for outer in inner for path in _folders(outer))):
        if any((each / name).is_file() for name in CURVES) and CELLS not in each.relative_to(folder).parts:
            yield each
