"""What one search found, and from several (a seed each) to metrics and a table of neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tvts_bench.features.base import Features
from tvts_bench.metrics.bootstrap import Difference, bootstrap_interval, paired_difference
from tvts_bench.metrics.measured import Metric
from tvts_bench.neighbors import Neighbors
from tvts_bench.video.spec import FrameOrder


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """One search: what each query scored, under which condition and seed."""

    condition: FrameOrder
    scores: Mapping[str, npt.NDArray[np.float64]]  # metric name -> value of each query in 0..1; nan: not defined for it
    chance: Mapping[str, float]
    table: Mapping[str, npt.NDArray[Any]]
    notes: tuple[str, ...]


def summarise(rankings: Sequence[Ranking]) -> list[Metric]:
    """Mean over seeds of each metric; the interval is over queries, each query's score averaged over the seeds."""
    metrics = []
    for name in rankings[0].scores:
        per_query = [ranking.scores[name] for ranking in rankings if name in ranking.scores]
        per_seed = tuple(100 * float(np.nanmean(scores)) for scores in per_query)
        interval = bootstrap_interval(np.mean(per_query, axis=0))
        metrics.append(
            Metric(
                name=name,
                condition=rankings[0].condition,
                value=float(np.mean(per_seed)),
                low=100 * interval.low,
                high=100 * interval.high,
                chance=rankings[0].chance.get(name),
                per_seed=per_seed if len(per_seed) > 1 else (),
            )
        )
    return metrics


def neighbor_table(
    queries: Features, gallery: Features, found: Neighbors, k: int, seed: int
) -> Mapping[str, npt.NDArray[Any]]:
    """One row a query and rank: who was found, how near, and whether it is a hit."""
    rows, ranks = np.nonzero(found.indices[:, :k] >= 0)
    targets = found.indices[rows, ranks]
    return {
        "seed": np.full(len(rows), seed),
        "query": np.asarray(queries.ids, dtype=object)[rows],
        "query_label": queries.labels[rows],
        "rank": ranks + 1,
        "neighbor": np.asarray(gallery.ids, dtype=object)[targets],
        "neighbor_label": gallery.labels[targets],
        "similarity": found.similarities[rows, ranks],
        "hit": queries.labels[rows] == gallery.labels[targets],
    }


def stacked(tables: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """The tables of several searches, one below the other."""
    return {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}


def recall_of_queries(table: Mapping[str, npt.NDArray[Any]], k: int) -> dict[str, float]:
    """Of each query in a table of neighbours, the share of seeds with a hit among the first `k`, by id."""
    queries, rows = np.unique(table["query"], return_inverse=True)
    seeds = np.unique(table["seed"])
    hits = np.zeros((len(queries), len(seeds)))
    found = np.flatnonzero(table["hit"] & (table["rank"] <= k))
    hits[rows[found], np.searchsorted(seeds, table["seed"][found])] = 1
    return dict(zip(queries.tolist(), hits.mean(axis=1).tolist(), strict=True))


def recall_difference(
    first: Mapping[str, npt.NDArray[Any]], second: Mapping[str, npt.NDArray[Any]], k: int
) -> Difference:
    """R@`k` of one table of neighbours less that of another, in percent, over the queries that are in both.

    The tables must hold at least `k` neighbours a query.
    """
    ours, theirs = recall_of_queries(first, k), recall_of_queries(second, k)
    both = [query for query in ours if query in theirs]
    return paired_difference([100 * ours[query] for query in both], [100 * theirs[query] for query in both])
