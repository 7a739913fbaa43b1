"""The files of a result: JSON with everything, CSV and Markdown made from it, Parquet for its tables.

Each is written whole or not at all, and what an earlier run measured is set aside, never overwritten. Tables that
people open (`AS_CSV`) are also written as CSV, and confusion matrices as pictures. At the end: a result for people, as
tidy CSV, as a Markdown table, and the facts behind its numbers as lines of text.
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
from tvts_bench.printable import csv_text, in_markdown
from tvts_bench.regular_file import read_regular
from tvts_bench.results.result import Result, ResultError, as_json, from_json

CONFUSION = "confusion"  # columns condition, label, class, predicted, predicted_class, clips; see `confusion_plots`
AS_CSV = ("per_class", CONFUSION, "choices")
COLUMNS = (
    *("dataset", "backbone", "weights", "condition", "metric"),
    *("value", "low", "high", "sd_of_seeds", "chance", "used", "listed", "key"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SavedResult:
    """The files of a result."""

    json: Path
    superseded: Path | None = None  # the earlier JSON of this run, kept because its numbers differ
    beside: tuple[Path, ...] = ()  # CSV, Markdown, Parquet of its tables, CSV and pictures of some of them


def write_files(result: Result, folder: Path) -> SavedResult:
    """Write all files of `result` into `folder`, each atomically, the JSON last: where it is, the others are.

    Those of an earlier run that measured something else are set aside first, all together.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    superseded = set_aside(result, folder)
    contents: dict[str, str | bytes] = {"csv": as_csv(result), "md": as_markdown(result)}
    metadata = {"tvts_bench_run": result.run.key}
    contents |= {f"{name}.parquet": as_parquet(columns, metadata) for name, columns in result.tables.items()}
    contents |= {f"{name}.csv": table_as_csv(result.tables[name]) for name in AS_CSV if name in result.tables}
    if CONFUSION in result.tables:
        from tvts_bench.results.confusion_plot import confusion_plots

        title = f"{result.run.dataset['name']}, {result.run.backbone['family']}:{result.run.backbone['variant']}"
        for condition, picture in confusion_plots(result.tables[CONFUSION], title).items():
            contents[f"{CONFUSION}.{re.sub(r'[^A-Za-z0-9]+', '-', condition).strip('-')}.png"] = picture
    for suffix, content in contents.items():
        write_atomically(folder / f"{result.stem}.{suffix}", content)
    beside = tuple(folder / f"{result.stem}.{suffix}" for suffix in contents)
    return replace(save(result, folder), superseded=superseded, beside=beside)


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


def table_as_csv(columns: Mapping[str, Any]) -> str:
    """CSV of equally long columns, numbers unrounded."""
    return csv_text([columns, *zip(*columns.values(), strict=True)])


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


def as_csv(result: Result) -> str:
    """Tidy CSV: one row per metric and condition; values in percent, unrounded."""
    rows: list[Iterable[object]] = [COLUMNS]
    queries = result.coverage[0]
    for metric in result.metrics:
        backbone = f"{result.run.backbone['family']}:{result.run.backbone['variant']}"
        row = (result.run.dataset["name"], backbone, result.run.backbone["weights"], metric.condition, metric.name)
        numbers = (metric.value, metric.low, metric.high, metric.spread, metric.chance)
        rows.append((*row, *numbers, queries.used, queries.listed, result.run.key))
    return csv_text(rows)


def as_markdown(result: Result) -> str:
    """A table of the metrics with what they speak of below it."""
    names = list(dict.fromkeys(metric.name for metric in result.metrics))
    conditions = list(dict.fromkeys(metric.condition for metric in result.metrics))
    measured = {(metric.condition, metric.name): metric for metric in result.metrics}
    lines = [f"| clips | {' | '.join(map(in_markdown, names))} |", "| --- |" + " ---: |" * len(names)]
    for condition in conditions:
        cells = []
        for name in names:
            metric = measured.get((condition, name))
            interval = "" if metric is None or metric.low is None else f" [{metric.low:.1f}, {metric.high:.1f}]"
            spread = "" if metric is None or metric.spread is None else f" ± {metric.spread:.2f}"
            cells.append("" if metric is None else f"{metric.value:.2f}{spread}{interval}")
        lines.append(f"| {in_markdown(condition)} | {' | '.join(cells)} |")
    chances = [measured[conditions[0], name].chance for name in names if (conditions[0], name) in measured]
    lines.append("| chance | " + " | ".join("" if value is None else f"{value:.2f}" for value in chances) + " |")
    return "\n".join((*lines, "", *(f"- {in_markdown(line)}" for line in facts(result)))) + "\n"


def facts(result: Result) -> list[str]:
    """What made the numbers, one short line each: for people; the JSON has all of it."""
    heading = (
        "percent, with 95 % bootstrap intervals over clips"
        + (", ± the standard deviation over seeds" if any(metric.per_seed for metric in result.metrics) else "")
        + f"; run {result.run.key[:12]}"
    )
    return [heading, backbone_fact(result), *shared_facts(result)]


def backbone_fact(result: Result) -> str:
    """Which backbone, which weights."""
    backbone = result.run.backbone
    weights = f"weights {backbone['weights']} (sha256 {backbone['sha256'][:12]})"
    return f"backbone {backbone['family']}:{backbone['variant']}, {weights}"


def shared_facts(result: Result) -> list[str]:
    """Data, protocol, decoders and notes: those of `facts` that comparable results have in common."""
    lines = [
        *(
            f"data {result.run.dataset['name']} {item.split}: {item.used:,} of {item.listed:,} clips used,"
            f" {len(item.failed):,} failed (fingerprint {item.fingerprint[:12]})"
            for item in result.coverage
        ),
        *result.protocol,
        "read by " + ", ".join(f"{name} ({count:,})" for name, count in result.provenance["decoders"].items()),
    ]
    return [*lines, *(f"note: {note}" for note in result.notes)]
