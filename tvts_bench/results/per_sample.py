"""What each query or clip scored in a result, from the Parquet tables that lie beside its JSON."""

import io
from pathlib import Path

from tvts_bench.metrics.measured import FORWARD
from tvts_bench.results.archive import read_below
from tvts_bench.results.index import StoredResult

Outcomes = dict[str, float]
"""Id of a query or clip -> its score in 0..1, a mean over the seeds of the result."""

COLUMNS = {
    "neighbors": ["seed", "query", "rank", "hit"],
    "logits": ["condition", "seed", "id", "label", "predicted"],
}
"""Table of a result -> its columns that outcomes are made of."""


def table_path(result: Path, table: str) -> Path:
    """Where a table of the result in the JSON file `result` lies."""
    return result.with_suffix(f".{table}.parquet")


def read_outcomes(stored: StoredResult, metric: str, condition: str) -> Outcomes | None:
    """The outcomes that a number is the mean of; None where they are not there or cannot be read.

    Args:
        stored: the result.
        metric: "R@K" or "top-1"; others have no outcomes.
        condition: which of the result's classifiers; Recall@K has outcomes for clips as they are alone.

    Returns:
        In 0..1, by id.
    """
    table = table_of(metric)
    if table == "neighbors":
        return _recalls(stored, int(metric.partition("@")[2])) if condition == FORWARD else None
    return _top_1(stored, condition) if table else None


def table_of(metric: str) -> str | None:
    """The table that holds a metric's outcomes; None where no table does."""
    name, _, k = metric.partition("@")
    if name == "R" and k.isdecimal():
        return "neighbors"
    return "logits" if metric == "top-1" else None


def _recalls(stored: StoredResult, k: int) -> Outcomes | None:
    """Of each query, the share of seeds with a hit among the first `k`."""
    rows = _read(stored, "neighbors")
    if rows is None:
        return None
    hits = (rows["hit"] & (rows["rank"] <= k)).groupby([rows["query"], rows["seed"]]).any()
    return {str(query): float(value) for query, value in hits.groupby(level=0).mean().items()}


def _top_1(stored: StoredResult, condition: str) -> Outcomes | None:
    """Of each clip, the share of seeds that answered right."""
    rows = _read(stored, "logits")
    if rows is None:
        return None
    rows = rows[rows["condition"] == condition]
    right = (rows["label"] == rows["predicted"]).groupby(rows["id"]).mean()
    return {str(clip): float(value) for clip, value in right.items()}


def _read(stored: StoredResult, table: str):  # type: ignore[no-untyped-def]  # a DataFrame, imported where it is needed
    import pandas as pd
    from pyarrow import ArrowException

    if table in stored.result.tables:  # it was measured just now, and is in no file yet
        return pd.DataFrame({name: list(stored.result.tables[table][name]) for name in COLUMNS[table]})
    path, archive = table_path(stored.path, table), stored.archive
    try:
        source = path if archive is None else _member(archive, path)
        return pd.read_parquet(source, columns=COLUMNS[table])
    except (OSError, ValueError, ArrowException):
        return None


def _member(archive: Path, path: Path) -> io.BytesIO:
    return io.BytesIO(read_below(archive, path.relative_to(archive.parent).as_posix()))
