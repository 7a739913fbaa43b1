"""The mean over official splits, as UCF-101 and HMDB-51 papers report it: a result made of results."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tvts_bench.metrics.classification import correct_at_k, mean_class_interval
from tvts_bench.metrics.measured import Metric, SplitCoverage
from tvts_bench.provenance import digest
from tvts_bench.results import Result, Run


def mean_of_folds(results: Sequence[Result]) -> Result:
    """The mean of one protocol's results on the folds of a data set, from results whose tables are still there.

    Each metric is the mean of the folds' values. The interval of top-k is over test clips, drawn anew within their
    fold; a clip that is tested in several folds counts in each. Mean class accuracy has none.
    """
    first = results[0]
    name = re.sub(r"-fold\d+$", "", str(first.run.dataset["name"]))
    metrics = tuple(
        _mean([result.metrics[number] for result in results], results) for number in range(len(first.metrics))
    )
    run = Run(
        evaluator=first.run.evaluator,
        backbone=first.run.backbone,
        dataset={"name": name, "folds": [dict(result.run.dataset) for result in results]},
        decoder=first.run.decoder,
    )
    decoders = sum((Counter(result.provenance["decoders"]) for result in results), Counter())
    folds = [result.run.key for result in results]
    return Result(
        run=run,
        metrics=metrics,
        coverage=tuple(
            _union([result.coverage[number] for result in results]) for number in range(len(first.coverage))
        ),
        provenance={**first.provenance, "decoders": dict(decoders), "folds": folds},
        protocol=(_each_fold(results), *(line for line in first.protocol if all(line in r.protocol for r in results))),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
    )


def _mean(metrics: Sequence[Metric], results: Sequence[Result]) -> Metric:
    """One metric over the folds."""
    assert len({(metric.name, metric.condition) for metric in metrics}) == 1, metrics
    mean = replace(metrics[0], value=float(np.mean([metric.value for metric in metrics])), low=None, high=None)
    if not mean.name.startswith("top-"):
        return mean
    hits = [_hits(result, mean.condition, int(mean.name.removeprefix("top-"))) for result in results]
    fold = np.repeat(np.arange(len(hits)), [len(each) for each in hits])
    interval = mean_class_interval(np.concatenate(hits), fold, len(hits))  # folds in the place of classes
    return replace(mean, low=100 * interval.low, high=100 * interval.high)


def _each_fold(results: Sequence[Result]) -> str:
    metric = results[0].metrics[0]
    values = ", ".join(f"{result.metric(metric.name, metric.condition).value:.2f}" for result in results)
    return f"mean over {len(results)} official splits; {metric.name} of each: {values}"


def _hits(result: Result, condition: str, k: int) -> NDArray[np.bool_]:
    """Whether each test clip was right, from the table of logits."""
    table = result.tables["logits"]
    rows = np.flatnonzero([each == condition for each in table["condition"]])
    scores = np.stack([table["logits"][row] for row in rows])
    return correct_at_k(scores, np.array([table["label"][row] for row in rows]), k)


def _union(folds: Sequence[SplitCoverage]) -> SplitCoverage:
    """What all folds' splits cover, each counted where it is used."""
    return SplitCoverage(
        split=f"{folds[0].split} of {len(folds)} folds",
        fingerprint=digest([fold.fingerprint for fold in folds]),
        listed=sum(fold.listed for fold in folds),
        used=sum(fold.used for fold in folds),
        failed={name: reason for fold in folds for name, reason in fold.failed.items()},
        damaged=tuple(dict.fromkeys(name for fold in folds for name in fold.damaged)),
        official=(sum(fold.official[0] for fold in folds),) if all(fold.official for fold in folds) else (),
    )
