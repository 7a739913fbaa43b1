"""The files of a result: JSON with everything, CSV and Markdown made from it, Parquet for its tables.

Each is written whole or not at all, and what an earlier run measured is set aside, never overwritten. Tables that
people open (`AS_CSV`) are also written as CSV, and confusion matrices as pictures.
"""

import io
import json
import logging
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvts_bench.atomic import whole_file
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.printable import csv_text
from tvts_bench.regular_file import read_regular
from tvts_bench.results.result import Result, ResultError, as_json, from_json
from tvts_bench.results.summary import as_csv, as_markdown

CONFUSION = "confusion"  # columns condition, label, class, predicted, predicted_class, clips; see `confusion_plots`
AS_CSV = ("per_class", CONFUSION, "choices")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SavedResult:
    """Where `save` put a result."""

    json: Path
    superseded: Path | None = None  # the earlier file of this run, kept because its numbers differ


@dataclass(frozen=True, kw_only=True)
class Written:
    """Every file of one result."""

    saved: SavedResult
    csv: Path
    markdown: Path
    tables: tuple[Path, ...]  # Parquet
    copies: tuple[Path, ...] = ()  # CSV and pictures of some of them


def write_files(result: Result, folder: Path) -> Written:
    """Write all files of `result` into `folder`, each atomically, the JSON last: where it is, the others are.

    Those of an earlier run that measured something else are set aside first, all together.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    superseded = set_aside(result, folder)
    stem = folder / result.stem
    tables = tuple(_write_parquet(result, name, Path(f"{stem}.{name}.parquet")) for name in result.tables)
    copies = tuple(_write_copies(result, stem))
    csv_path, markdown_path = Path(f"{stem}.csv"), Path(f"{stem}.md")
    write_atomically(csv_path, as_csv(result))
    write_atomically(markdown_path, as_markdown(result))
    saved = replace(save(result, folder), superseded=superseded)
    return Written(saved=saved, csv=csv_path, markdown=markdown_path, tables=tables, copies=copies)


def as_parquet(columns: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """A Parquet file of equally long columns, with `metadata` beside its schema."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: pa.array(_valid_text(values)) for name, values in columns.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(dict(metadata)), buffer, compression="zstd")
    return buffer.getvalue()


def _valid_text(values: Any) -> Any:
    """`values`; names among them that are not UTF-8 on disk with escapes."""
    if not isinstance(next(iter(values), None), str):
        return values
    return [value.encode(errors="backslashreplace").decode() for value in values]


def _write_parquet(result: Result, name: str, path: Path) -> Path:
    write_atomically(path, as_parquet(result.tables[name], {"tvts_bench_run": result.run.key}))
    return path


def table_as_csv(columns: Mapping[str, Any]) -> str:
    """CSV of equally long columns, numbers unrounded."""
    return csv_text([columns, *zip(*columns.values(), strict=True)])


def _write_copies(result: Result, stem: Path) -> Iterable[Path]:
    for name in AS_CSV:
        if name in result.tables:
            path = Path(f"{stem}.{name}.csv")
            write_atomically(path, table_as_csv(result.tables[name]))
            yield path
    if CONFUSION in result.tables:
        from tvts_bench.results.confusion_plot import confusion_plots

        run = result.run
        title = f"{run.dataset['name']}, {run.backbone['family']}:{run.backbone['variant']}"
        for condition, picture in confusion_plots(result.tables[CONFUSION], title).items():
            path = Path(f"{stem}.{CONFUSION}.{re.sub(r'[^A-Za-z0-9]+', '-', condition).strip('-')}.png")
            write_atomically(path, picture)
            yield path


def save(result: Result, folder: Path) -> SavedResult:
    """Write `result` to its file in `folder`, atomically.

    A file of the same run with other numbers is kept (`set_aside`), and a warning is logged.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    path = folder / f"{result.stem}.json"
    document = as_json(result)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    superseded = set_aside(result, folder)
    write_atomically(path, text)
    return SavedResult(json=path, superseded=superseded)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError, RecursionError: it is no JSON.
    """
    return json.loads(read_regular(path).decode("utf-8"))


def load(path: Path, content: bytes | None = None) -> Result:
    """Read a result file.

    Args:
        path: of the JSON.
        content: of it, where it is a member of an archive.

    Raises:
        ResultError: it is missing, not JSON, or not a result.
    """
    try:
        document = read_json(path) if content is None else json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"cannot read the result file {path}: {error}") from error
    if not isinstance(document, dict):
        raise ResultError(f"{path}: not a result file of tvts-bench")
    return from_json(document, path)


def require_writable(folder: Path) -> None:
    """Make `folder` and try it out, so that hours of work do not end before a locked door.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"cannot write to {folder}: {error.strerror or error}"
        raise ResultError(f"{problem}; choose another place with --out") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        ResultError: no permission, disk full, or any other reason the system gives.
    """
    # Names on disk need not be UTF-8; in JSON the escape reads back as the same name.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror or error}; choose another folder with --out"
        ) from error


def set_aside(result: Result, folder: Path) -> Path | None:
    """Rename the files of an earlier run of `result` that measured other numbers or other videos; where its JSON is.

    None where there is nothing to keep.

    Raises:
        ResultError: the system does not let them be renamed.
    """
    path = folder / f"{result.stem}.json"
    if not path.exists() or _is_same(path, result):
        return None
    aside = rename_aside(path)
    log.warning("%s held other numbers for the same run, or those of other videos; kept as %s", path.name, aside.name)
    return aside


def rename_aside(path: Path) -> Path:
    """Rename a result file, and all that lies beside it under its stem; where it then is.

    The files keep their names but for the next free number behind the stem.

    Raises:
        ResultError: the system does not let them be renamed.
    """
    folder, stem = path.parent, path.stem
    number = 1
    while (aside := folder / f"{stem}.{number}.json").exists():
        number += 1
    try:
        for file in [file for file in folder.iterdir() if file.name.startswith(f"{stem}.")]:
            rest = file.name.removeprefix(stem)
            if not rest[1:2].isdigit():  # those were set aside before
                file.rename(folder / f"{stem}.{number}{rest}")
    except OSError as error:
        raise ResultError(f"cannot rename the earlier files of {path}: {error.strerror or error}") from error
    return aside


def _is_same(path: Path, new: Result) -> bool:
    """Whether the result in `path` has the numbers of `new`, and is not known to be of other videos."""
    try:
        old = load(path)
    except ResultError:
        return False
    return (
        old.metrics == new.metrics
        and len(old.coverage) == len(new.coverage)
        and all(map(_same_coverage, old.coverage, new.coverage))
    )


def _same_coverage(old: SplitCoverage, new: SplitCoverage) -> bool:
    return replace(old, files=None) == replace(new, files=None) and (
        old.files is None  # of an older version, which did not say
        or new.files is None
        or old.files.signatures == new.files.signatures
        or (old.files.contents is not None and old.files.contents == new.files.contents)
    )
