"""Which results say something about each other: those of one task, protocol, list of clips and version.

And what each query or clip scored in them, held against the number in their JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tvts_bench.metrics.measured import FORWARD, Metric
from tvts_bench.metrics.significance import bootstrap_interval
from tvts_bench.provenance import digest
from tvts_bench.results.collection import NamedResult
from tvts_bench.results.index import made_by, unseeded
from tvts_bench.results.per_sample import Outcomes, read_outcomes, table_of, table_path
from tvts_bench.results.result import Result, ResultError

PROTOCOLS = {
    "zero_shot_retrieval": "zero-shot retrieval",
    "cached_probe": "probe of cached features",
    "online_probe": "linear probe, online",
    "finetune": "fine-tuning",
}
MAIN_METRICS = ("R@1", "top-1")
OWN_DATA = ("folder", "list")  # data sets that are named by their folder
CLIP = "evaluator.clip."
SHOWN = 60  # letters of a value in a message
ROUNDING = 1e-6  # percent


@dataclass(frozen=True, order=True)
class EvaluationTask:
    """A data set and a protocol, by their names."""

    dataset: str
    protocol: str

    def __str__(self) -> str:
        """In words."""
        return f"{self.dataset}, {PROTOCOLS.get(self.protocol, self.protocol)}"


def task_of(result: Result) -> EvaluationTask:
    """The task of a result."""
    splits = " vs ".join(item.split for item in result.coverage[:1])
    return EvaluationTask(dataset=f"{dataset_label(result)} {splits}", protocol=str(result.run.evaluator.get("name")))


def dataset_label(result: Result) -> str:
    """The data set's name; one's own by the name of its folder, too, without the folders above it."""
    name, root = str(result.run.dataset["name"]), result.provenance.get("root")
    return f"{name} {Path(str(root)).name}" if name in OWN_DATA and root else name


def tasks(named: Sequence[NamedResult]) -> dict[EvaluationTask, list[NamedResult]]:
    """The results by task, in the order in which they were given."""
    by_task: dict[EvaluationTask, list[NamedResult]] = {}
    for each in named:
        by_task.setdefault(task_of(each.result), []).append(each)
    return by_task


def shown_metrics(results: Sequence[Result], names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Name and condition of the metrics that results are compared by.

    Args:
        results: of one task.
        names: "R@5", "top-1"; none: the main one of the protocol.

    Returns:
        In the order of the results. Of retrieval only that of clips as they are, of a probe that of each head.
    """
    metrics = [metric for result in results for metric in result.metrics]
    main = [name for name in MAIN_METRICS if any(metric.name == name for metric in metrics)]
    wanted = names or main[:1] or [metrics[0].name]
    conditions = {metric.condition for metric in metrics}
    of_controls = conditions - {FORWARD} if FORWARD in conditions else set()
    kept = [each for each in metrics if each.name in wanted and each.condition not in of_controls]
    return list(dict.fromkeys((each.name, each.condition) for each in sorted(kept, key=lambda m: wanted.index(m.name))))


def metric_of(result: Result, name: str, condition: str) -> Metric | None:
    """The metric of that name and condition.

    Args:
        result: of any protocol.
        name: "R@1", "top-1".
        condition: of the clips, or which head.

    Returns:
        None where it was not measured.
    """
    return next((each for each in result.metrics if (each.name, each.condition) == (name, condition)), None)


def differences(first: Result, second: Result) -> dict[str, tuple[object, object]]:
    """Everything in which two results differ that forbids to compare them: key -> value of each.

    Seeds do not, and neither does the clip of backbones of different architectures: each is measured with its own.
    """
    ours, theirs = ({**_settings(each), **_contents(each)} for each in (first, second))
    unknown = _contents(first).keys() ^ _contents(second).keys()
    own_clips = _architecture(first) != _architecture(second)
    every = (key for key in dict.fromkeys((*ours, *theirs)) if key not in unknown)
    differing = (key for key in every if ours.get(key) != theirs.get(key))
    return {key: (ours.get(key), theirs.get(key)) for key in differing if not (own_clips and key.startswith(CLIP))}


def in_words(differing: Mapping[str, tuple[object, object]]) -> str:
    """The differences as one line: `evaluator.dtype bf16 and fp32`."""
    return "; ".join(f"{key} {shortened(first)} and {shortened(second)}" for key, (first, second) in differing.items())


def comparable_parts(named: Sequence[NamedResult]) -> list[list[NamedResult]]:
    """Results of one task apart by protocol, clips and version, the largest part first.

    Where a backbone was measured with several clips, the one that most of its architecture's results have counts as
    its own.
    """
    own: dict[object, str] = {}
    for architecture in {_architecture(each.result) for each in named}:
        clips = [_clip(each.result) for each in named if _architecture(each.result) == architecture]
        own[architecture] = max(clips, key=clips.count)
    known: dict[str, object] = {}  # contents of videos, which not every result knows
    for each in named:
        known = {**_contents(each.result), **known}
    parts: dict[tuple[str, str], list[NamedResult]] = {}
    for each in named:
        clip, videos = _clip(each.result), {**known, **_contents(each.result)}
        settings = {key: value for key, value in _settings(each.result).items() if not key.startswith(CLIP)} | videos
        key = digest(settings), "" if clip == own[_architecture(each.result)] else clip
        parts.setdefault(key, []).append(each)
    return sorted(parts.values(), key=len, reverse=True)


def set_apart(first: NamedResult, other: NamedResult) -> str:
    """What the results of one part have that those of the first part have not, in words."""
    differing = differences(first.result, other.result)
    return "; ".join(f"{key} {shortened(theirs)}" for key, (_, theirs) in differing.items()) or "other clips"


def require_comparable(task: EvaluationTask, named: Sequence[NamedResult]) -> None:
    """Refuse results of one task that were measured differently.

    Raises:
        ResultError: with two of the files, and what differs.
    """
    first, *others = comparable_parts(named)
    if others:
        ours, theirs = first[0], others[0][0]
        differing = differences(ours.result, theirs.result) or {"evaluator.clip": ("one", "another")}
        raise ResultError(
            f"{task}: {ours.stored.path} and {theirs.stored.path} cannot be compared, they differ in"
            f" {in_words(differing)}; measure both alike, or name those that are"
        )


def require_one_each(named: Sequence[NamedResult]) -> None:
    """Refuse two runs of one model and seed in one task.

    Raises:
        ResultError: with the files.
    """
    seen: dict[tuple[str, int | None], NamedResult] = {}
    for each in named:
        other = seen.setdefault((each.model, each.seed), each)
        if other is not each:
            raise ResultError(
                f"two runs of one name: {other.stored.path} and {each.stored.path} are both {each.model};"
                " name them apart, as NAME=FILE"
            )


def clip_note(named: Sequence[NamedResult]) -> str | None:
    """Which input each model had, where they differ."""
    clips: dict[str, Mapping[str, Any]] = {each.model: _flat(_of_clip(each.result), "") for each in named}
    keys = [key for key in next(iter(clips.values()), {}) if len({str(clip.get(key)) for clip in clips.values()}) > 1]
    if not keys:
        return None
    each = (
        f"{model} {', '.join(f'{key} {shortened(clip.get(key))}' for key in keys)}" for model, clip in clips.items()
    )
    return f"each model is measured with its own clips: {'; '.join(each)}"


def _settings(result: Result) -> dict[str, object]:
    """All that has to be equal, by its key in the JSON."""
    run = result.run
    settings = {**_flat(unseeded(run.evaluator), "evaluator."), **_flat(run.dataset, "dataset.")}
    return {**settings, "decoder": run.decoder, "version of tvts-bench": made_by(result)}


def _contents(result: Result) -> dict[str, object]:
    """A digest of the videos of each split, where it is known."""
    known = ((item.split, item.files.contents) for item in result.coverage if item.files)
    return {f"videos of {split}": contents for split, contents in known if contents}


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return flat


def _architecture(result: Result) -> tuple[object, object]:
    return result.run.backbone["family"], result.run.backbone["variant"]


def _of_clip(result: Result) -> Mapping[str, Any]:
    clip = unseeded(result.run.evaluator).get("clip")
    return clip if isinstance(clip, Mapping) else {}


def _clip(result: Result) -> str:
    return digest(_of_clip(result))


def shortened(value: object) -> str:
    """A setting in a message: a digest's first letters, a long text's beginning."""
    text = "nothing" if value is None else str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]  # a digest
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


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
