"""What each query or clip scored with a model, held against the number in its JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tvts_bench.metrics.significance import bootstrap_interval
from tvts_bench.results.collection import NamedResult
from tvts_bench.results.comparability import metric_of
from tvts_bench.results.per_sample import Outcomes, read_outcomes, table_of, table_path
from tvts_bench.results.result import ResultError

ROUNDING = 1e-6  # percent


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelScores:
    """One metric of one model, of one or several seeds of pretraining."""

    model: str
    value: float  # percent, the mean over the seeds
    low: float | None
    high: float | None
    chance: float | None
    by_seed: Mapping[int | None, float]  # percent
    outcomes: Mapping[int | None, Outcomes] = field(default_factory=dict)  # in 0..1; of the seeds that kept them

    def mean_outcomes(self, seeds: Iterable[int | None]) -> Outcomes:
        """Of each clip that all of `seeds` measured, the mean over them."""
        kept = [self.outcomes[seed] for seed in seeds if seed in self.outcomes]
        shared = [clip for clip in kept[0] if all(clip in each for each in kept)] if kept else []
        return {clip: float(np.mean([each[clip] for each in kept])) for clip in shared}


def model_scores(named: Sequence[NamedResult], name: str, condition: str) -> ModelScores | None:
    """A metric of one model.

    Args:
        named: its results, one per seed of pretraining.
        name: of the metric.
        condition: of the metric.

    Returns:
        None where it was not measured.

    Raises:
        ResultError: what the clips scored does not give the number in the JSON.
    """
    measured = [(each, metric) for each in named if (metric := metric_of(each.result, name, condition))]
    if not measured:
        return None
    outcomes = {each.seed: kept for each, _ in measured if (kept := _outcomes(each, name, condition))}
    first = measured[0][1]
    scores = ModelScores(
        model=named[0].model,
        value=float(np.mean([metric.value for _, metric in measured])),
        low=first.low,
        high=first.high,
        chance=first.chance,
        by_seed={each.seed: metric.value for each, metric in measured},
        outcomes=outcomes,
    )
    if len(measured) == 1:
        return scores
    means = list(scores.mean_outcomes(scores.by_seed).values()) if len(outcomes) == len(measured) else []
    interval = bootstrap_interval(means) if means else None
    bounds = (100 * interval.low, 100 * interval.high) if interval else (None, None)
    return replace(scores, low=bounds[0], high=bounds[1])


def why_untested(named: NamedResult, name: str) -> str:
    """Why a result has no scores of single clips for a metric: one sentence with the file, and the way out."""
    path = named.stored.path
    if "folds" in named.result.provenance:
        return f"{path} is a mean over folds, which keeps no scores of single clips: name the results of one fold"
    table = table_of(name)
    if table is None:
        return f"{name} of {path} has no scores of single clips: compare by R@K or top-1, with --metric"
    parquet = table_path(path, table)
    if named.stored.archive is None and not parquet.exists():
        return f"{parquet} is missing: keep it beside {path.name}, or measure again"
    return f"{parquet} is damaged, or does not hold {name}: measure again"


def _outcomes(named: NamedResult, name: str, condition: str) -> Outcomes | None:
    """The outcomes behind a metric; None where they are not there.

    Raises:
        ResultError: their mean is not the metric's value.
    """
    scores = read_outcomes(named.stored, name, condition)
    if not scores:
        return None
    metric = named.result.metric(name, condition)
    # A query without any candidate has no neighbours, and counts as a miss.
    count = max(len(scores), named.result.coverage[0].used) if table_of(name) == "neighbors" else len(scores)
    mean = 100 * sum(scores.values()) / count
    if abs(mean - metric.value) > ROUNDING:
        path = named.stored.path
        parquet = table_path(path, table_of(name) or "").name
        raise ResultError(
            f"{path} says {name} {metric.value:.4f}, but its clips in {parquet} give {mean:.4f}: one of the two files"
            " was edited or damaged; measure again"
        )
    return scores
