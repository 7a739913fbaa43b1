"""The files of a result: JSON with everything, CSV and Markdown made from it, Parquet for its tables.

Tables that people open (`AS_CSV`) are also written as CSV, and confusion matrices as pictures.
"""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tvts_bench.confusion_picture import confusion_picture
from tvts_bench.csv_files import csv_text
from tvts_bench.printable import in_markdown
from tvts_bench.results import Result, Saved, save, set_aside, write_atomically

CONFUSION = "confusion"  # columns condition, label, class, predicted, predicted_class, clips; see `as_pictures`
AS_CSV = ("per_class", CONFUSION, "choices")

COLUMNS = (
    "dataset",
    "backbone",
    "weights",
    "condition",
    "metric",
    "value",
    "low",
    "high",
    "sd_of_seeds",
    "chance",
    "used",
    "listed",
    "key",
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """Every file of one result."""

    saved: Saved
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


def as_csv(result: Result) -> str:
    """Tidy CSV: one row a metric and condition; values in percent, unrounded."""
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
    """Data, protocol, decoders and notes: those of `facts` that backbones measured alike have in common."""
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


def as_pictures(confusion: Mapping[str, Any], title: str) -> dict[str, bytes]:
    """A PNG of each condition's confusion matrix.

    Args:
        confusion: a row a pair of classes that occurs: condition, label and predicted (class indices), class and
            predicted_class (their names), clips. Classes that occur in no row of a condition are left out of its
            picture.
        title: what was measured; the condition is put behind it.
    """
    conditions = np.asarray(confusion["condition"], dtype=object)
    names = dict(zip(confusion["label"], confusion["class"], strict=True))
    names |= dict(zip(confusion["predicted"], confusion["predicted_class"], strict=True))
    pictures = {}
    for condition in dict.fromkeys(confusion["condition"]):
        rows = np.flatnonzero(conditions == condition)
        true, answered, clips = (np.asarray(confusion[name])[rows] for name in ("label", "predicted", "clips"))
        present = np.union1d(true, answered)
        counts = np.zeros((len(present), len(present)), dtype=np.int64)
        np.add.at(counts, (np.searchsorted(present, true), np.searchsorted(present, answered)), clips)
        pictures[condition] = confusion_picture(counts, [names[label] for label in present], f"{title}, {condition}")
    return pictures


def _write_copies(result: Result, stem: Path) -> Iterable[Path]:
    for name in AS_CSV:
        if name in result.tables:
            path = Path(f"{stem}.{name}.csv")
            write_atomically(path, table_as_csv(result.tables[name]))
            yield path
    if CONFUSION in result.tables:
        run = result.run
        title = f"{run.dataset['name']}, {run.backbone['family']}:{run.backbone['variant']}"
        for condition, picture in as_pictures(result.tables[CONFUSION], title).items():
            path = Path(f"{stem}.{CONFUSION}.{re.sub(r'[^A-Za-z0-9]+', '-', condition).strip('-')}.png")
            write_atomically(path, picture)
            yield path
