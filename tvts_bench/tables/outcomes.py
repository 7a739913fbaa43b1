"""What each query or clip scored in a result, from the Parquet tables that lie beside its JSON."""

from pathlib import Path

from tvts_bench.tables.base import Column, Protocol

Outcomes = dict[str, float]
"""Id of a query or clip -> its score in 0..1, a mean over the seeds of the result."""


def read_outcomes(result: Path, column: Column, protocol: Protocol) -> Outcomes | None:
    """The outcomes that `column` is the mean of; None where the table is not there or cannot be read.

    Args:
        result: the JSON file of the result.
        column: Recall@K or top-1.
        protocol: its condition chooses among a result's classifiers.
    """
    name, _, k = column.metric.partition("@")
    if name == "R" and k.isdecimal():
        return _recalls(result.with_suffix(".neighbors.parquet"), int(k))
    if column.metric == "top-1":
        return _top_1(result.with_suffix(".logits.parquet"), protocol.condition)
    return None


def _recalls(path: Path, k: int) -> Outcomes | None:
    """Of each query, the share of seeds with a hit among the first `k`."""
    found = _columns(path, ["seed", "query", "rank", "hit"])
    if found is None:
        return None
    hits = (found["hit"] & (found["rank"] <= k)).groupby([found["query"], found["seed"]]).any()
    return {str(query): float(value) for query, value in hits.groupby(level=0).mean().items()}


def _top_1(path: Path, condition: str) -> Outcomes | None:
    """Of each clip, the share of seeds that answered right."""
    found = _columns(path, ["condition", "seed", "id", "label", "predicted"])
    if found is None:
        return None
    found = found[found["condition"] == condition]
    right = (found["label"] == found["predicted"]).groupby(found["id"]).mean()
    return {str(clip): float(value) for clip, value in right.items()}


def _columns(path: Path, names: list[str]):  # type: ignore[no-untyped-def]  # a DataFrame, imported where it is needed
    import pandas as pd
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path, columns=names)
    except (OSError, ValueError, ArrowException):
        return None
