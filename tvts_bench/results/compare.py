"""Whether models differ: paired tests on the same clips or seeds, corrected for their number, and a sentence for each.

McNemar's exact test where a clip is right or wrong; the paired bootstrap (few clips: a permutation test) where it was
measured with several seeds of sampling; a paired t test where there are several seeds of pretraining. Intervals are of
the difference, from the same pairs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tvts_bench.metrics.significance import (
    MIN_PAIRS_OF_SEEDS,
    PairedTest,
    compare_outcomes,
    compare_seeds,
    holm_corrected,
)
from tvts_bench.results.collection import NamedResult, Results, Source, load_results, model_fact
from tvts_bench.results.comparability import (
    EvaluationTask,
    ModelScores,
    clip_note,
    comparable_parts,
    model_scores,
    require_comparable,
    require_one_each,
    set_apart,
    shown_metrics,
    tasks,
    why_untested,
)
from tvts_bench.results.per_sample import Outcomes
from tvts_bench.results.result import ResultError

ALPHA = 0.05  # corrected p-values below show a difference


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One model against another by one metric: differences are those of the first to the second, in percent."""

    first: str
    second: str
    metric: str  # "R@1"
    condition: str  # of the clips, or which head
    first_value: float
    second_value: float
    test: PairedTest | None  # None: seeds that all differ by the same amount, of which no test can be made
    p_holm: float | None  # corrected for all comparisons beside it
    only_first: tuple[str, ...]  # clips that the first gets right and the second does not, the clearest first
    only_second: tuple[str, ...]

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below `ALPHA`."""
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def sentence(self) -> str:
        """What can be said: who is ahead, or that no difference is seen, with the interval."""
        name = self.metric if self.condition == "forward" else f"{self.metric} ({self.condition})"
        if self.test is None:
            amount = f"{self.first_value - self.second_value:+.1f}"
            return f"{name}: {self.first} and {self.second} differ by {amount} with every seed; that allows no test"
        interval = _interval(self.test.low, self.test.high)
        if self.test.p >= ALPHA:
            seen = f"{self.test.difference:+.1f}{interval}"
            return f"{name}: no difference seen between {self.first} and {self.second}: {seen}"
        ahead, behind, turned = self.first, self.second, self.test
        if self.test.difference < 0:
            low, high = (None if bound is None else -bound for bound in (self.test.high, self.test.low))
            ahead, behind = self.second, self.first
            turned = replace(self.test, difference=-self.test.difference, low=low, high=high)
        by = f"{name}: {ahead} is ahead of {behind} by {turned.difference:.1f}{_interval(turned.low, turned.high)}"
        if self.significant:
            return by
        return f"{by} taken alone, but not corrected for the number of comparisons (Holm {p_in_words(self.p_holm)})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All verdicts of one task."""

    task: EvaluationTask
    setting: str = ""  # what sets it apart from another comparison of the same task
    models: Mapping[str, str]  # name -> backbone and weights in words
    runs: Mapping[str, tuple[str, ...]]  # name -> keys of its runs
    baseline: str | None  # None: each model is compared with each
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def compare(
    results: Results | Source | Iterable[Source], baseline: str | None = None, metrics: Sequence[str] = ()
) -> tuple[Comparison, ...]:
    """Compare models on the same clips.

    Args:
        results: as `load_results` takes them: results, JSON files, folders, grids.
        baseline: the model that all others are compared with; None: each with each.
        metrics: "R@5"; none: the main one of each protocol (R@1, or top-1 of each head).

    Returns:
        One comparison per data set and protocol that has two models or more; what was measured in several ways, each
        of two models or more, has one per way.

    Raises:
        ResultError: fewer than two models of any task, results of one task that were measured differently (with what
            differs), two runs of one name, or scores of single clips that are missing.
    """
    given = load_results(results)
    if len(given) < 2:
        raise ResultError(
            f"there is a single result, {given.named[0].stored.path}: a comparison needs two, of different models"
        )
    reference = given.model(baseline) if baseline else None
    of_clips = [each for each in given.named if "folds" not in each.result.provenance]
    if not of_clips:
        raise ResultError(why_untested(given.named[0], given.named[0].result.metrics[0].name))
    by_task = tasks(of_clips)
    parts = [part for task, named in by_task.items() for part in _parts(task, named, reference)]
    if not parts:
        for task, named in by_task.items():
            require_comparable(task, named)
            require_one_each(named)
        raise ResultError(_nothing_shared(by_task, reference))
    compared = [_compare_part(each, reference, metrics) for each in parts]
    if left_out := len(given.named) - len(of_clips):
        note = f"{left_out} means over folds are left out: they keep no scores of single clips, their folds do"
        compared = [replace(each, notes=(*each.notes, note)) for each in compared]
    return tuple(compared)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Results of one task that may be compared."""

    task: EvaluationTask
    setting: str  # what sets it apart from the others of its task; empty for the largest
    named: Sequence[NamedResult]


def _parts(task: EvaluationTask, named: Sequence[NamedResult], baseline: str | None) -> Iterator[_Part]:
    """A task's results apart by protocol, clips and version, each with models to compare; none of a single model.

    Raises:
        ResultError: a result has none to be compared with, because it was measured differently.
    """

    def has_pair(part: Sequence[NamedResult]) -> bool:
        models = {each.model for each in part}
        return len(models) > 1 and (baseline is None or baseline in models)

    if not has_pair(named):
        return
    parts = comparable_parts(named)
    if not all(map(has_pair, parts)):
        require_comparable(task, named)
    for number, part in enumerate(parts):
        require_one_each(part)
        yield _Part(task=task, setting=set_apart(parts[0][0], part[0]) if number else "", named=part)


def verdicts_of(scores: Sequence[ModelScores], metric: str, condition: str, baseline: str | None) -> list[Verdict]:
    """The models against the baseline, or each against each; not corrected yet.

    Args:
        scores: one per model.
        metric: its name, for the verdicts.
        condition: its condition, for the verdicts.
        baseline: a model among them; None: no one.

    Returns:
        In the order of `scores`; the baseline is the second of each.
    """
    if baseline is None:
        pairs = list(combinations(scores, 2))
    else:
        reference = next(each for each in scores if each.model == baseline)
        pairs = [(each, reference) for each in scores if each is not reference]
    return [_verdict(first, second, metric, condition) for first, second in pairs]


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with p-values corrected by Holm's method for all of them."""
    tested = [each.test.p for each in verdicts if each.test]
    adjusted = iter(holm_corrected(tested))
    return [replace(each, p_holm=float(next(adjusted))) if each.test else each for each in verdicts]


def p_in_words(p: float | None) -> str:
    """`p 0.031`, `p < 0.001`."""
    if p is None:
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def _compare_part(part: _Part, baseline: str | None, metrics: Sequence[str]) -> Comparison:
    task, named = part.task, part.named
    by_model: dict[str, list[NamedResult]] = {}
    for each in named:
        by_model.setdefault(each.model, []).append(each)
    shown = shown_metrics([each.result for each in named], metrics)
    if not shown:
        there = ", ".join(dict.fromkeys(metric.name for each in named for metric in each.result.metrics))
        raise ResultError(f"{task} has no {', '.join(metrics)}: there are {there}")
    verdicts: list[Verdict] = []
    for name, condition in shown:
        scores = [scored for model in by_model.values() if (scored := model_scores(model, name, condition))]
        _require_scores(scores, by_model, name)
        if len(scores) > 1 and (baseline is None or baseline in {each.model for each in scores}):
            verdicts += verdicts_of(scores, name, condition, baseline)
    return Comparison(
        task=task,
        setting=part.setting,
        models={model: model_fact(each[0].result, len({one.seed for one in each})) for model, each in by_model.items()},
        runs={model: tuple(one.result.run.key for one in each) for model, each in by_model.items()},
        baseline=baseline,
        verdicts=tuple(corrected(verdicts)),
        notes=tuple(_notes(named, verdicts)),
    )


def _require_scores(scores: Sequence[ModelScores], by_model: Mapping[str, Sequence[NamedResult]], name: str) -> None:
    """Refuse a model that can be tested neither over seeds nor over clips."""
    for each in scores:
        if len(each.by_seed) < MIN_PAIRS_OF_SEEDS and not each.outcomes:
            raise ResultError(why_untested(by_model[each.model][0], name))


def paired_test(first: ModelScores, second: ModelScores, *, interval: bool = True) -> PairedTest | None:
    """The test of two models, in percent: over the seeds of pretraining that both have, else over their clips.

    Args:
        first: differences are of it to the second.
        second: measured on the same clips.
        interval: whether it is needed; without it, hits and misses of many clips are compared faster.

    Returns:
        None where nothing can be tested: no clips in common, or seeds that all differ by the same amount.
    """
    seeds = _shared_seeds(first, second)
    if len(seeds) >= MIN_PAIRS_OF_SEEDS:
        return compare_seeds([first.by_seed[seed] for seed in seeds], [second.by_seed[seed] for seed in seeds])
    ours, theirs = _paired_outcomes(first, second)
    if not ours:
        return None
    is_hit_or_miss = {*ours.values(), *theirs.values()} <= {0.0, 1.0}
    resamples = {"resamples": 1} if is_hit_or_miss and not interval else {}
    return _in_percent(compare_outcomes(list(ours.values()), list(theirs.values()), **resamples))


def _shared_seeds(first: ModelScores, second: ModelScores) -> list[int | None]:
    return [seed for seed in first.by_seed if seed in second.by_seed]


def _paired_outcomes(first: ModelScores, second: ModelScores) -> tuple[Outcomes, Outcomes]:
    """What the clips that both measured scored with each, in the same order."""
    seeds = _shared_seeds(first, second)
    ours, theirs = (each.mean_outcomes(seeds or each.by_seed) for each in (first, second))
    clips = [clip for clip in ours if clip in theirs]
    return {clip: ours[clip] for clip in clips}, {clip: theirs[clip] for clip in clips}


def _verdict(first: ModelScores, second: ModelScores, metric: str, condition: str) -> Verdict:
    ours, theirs = _paired_outcomes(first, second)
    test = paired_test(first, second)
    if test is None and len(_shared_seeds(first, second)) < MIN_PAIRS_OF_SEEDS:
        raise ResultError(f"{first.model} and {second.model} have neither clips nor seeds in common")
    ahead = {clip: ours[clip] - theirs[clip] for clip in ours}
    return Verdict(
        first=first.model,
        second=second.model,
        metric=metric,
        condition=condition,
        first_value=first.value,
        second_value=second.value,
        test=test,
        p_holm=None,
        only_first=tuple(sorted((clip for clip in ahead if ahead[clip] > 0), key=lambda clip: (-ahead[clip], clip))),
        only_second=tuple(sorted((clip for clip in ahead if ahead[clip] < 0), key=lambda clip: (ahead[clip], clip))),
    )


def _notes(named: Sequence[NamedResult], verdicts: Sequence[Verdict]) -> Iterable[str]:
    """What a reader must know beside the verdicts."""
    tests = list(dict.fromkeys(each.test.test for each in verdicts if each.test))
    yield (
        f"differences in percentage points with 95 % intervals; p two-sided by {' or '.join(tests) or 'no test'};"
        f" Holm: corrected for the {len(verdicts)} comparisons here, and what the sentences go by"
    )
    if any(test.startswith("McNemar") for test in tests):
        yield "McNemar's exact test is on the safe side: of equal models it finds fewer than 5 % different"
    if all(each.seed is None for each in named) and verdicts:
        yield "the pairs are clips: nothing is said of other seeds of pretraining"
    if note := clip_note(named):
        yield note
    used = sorted({each.result.coverage[0].used for each in named})
    pairs = sorted({each.test.pairs for each in verdicts if each.test and "seeds" not in each.test.test})
    if pairs and (len(used) > 1 or pairs[0] < used[0]):
        yield f"compared on the clips that both of a pair have: {pairs[0]:,} or more, of {used[-1]:,}"


def _nothing_shared(by_task: Mapping[EvaluationTask, Sequence[NamedResult]], baseline: str | None) -> str:
    if baseline:
        return f"no other model was measured on a data set and by a protocol of {baseline}: nothing to compare"
    each = "; ".join(f"{task}: {', '.join(dict.fromkeys(n.model for n in named))}" for task, named in by_task.items())
    return f"no two models were measured on the same data set by the same protocol ({each})"


def _in_percent(test: PairedTest) -> PairedTest:
    low, high = (None if bound is None else 100 * bound for bound in (test.low, test.high))
    return replace(test, difference=100 * test.difference, low=low, high=high)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.1f}, {high:+.1f}]"
