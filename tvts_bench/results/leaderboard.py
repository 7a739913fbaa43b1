"""Models x tasks from stored results, with intervals, ranks, cost, and which models do not differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from tvts_bench.metrics.measured import FORWARD
from tvts_bench.metrics.significance import holm_corrected
from tvts_bench.results.collection import RANDOM, NamedResult, Results, model_fact
from tvts_bench.results.comparability import (
    EvaluationTask,
    ModelScores,
    clip_note,
    comparable_parts,
    model_scores,
    require_one_each,
    set_apart,
    shown_metrics,
    tasks,
)
from tvts_bench.results.compare import ALPHA, paired_test
from tvts_bench.results.result import ResultError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column: one metric of one task, by one protocol."""

    task: EvaluationTask
    metric: str
    condition: str
    setting: str = ""  # what sets it apart from another column of the same task and metric
    chance: float | None = None  # percent

    @property
    def heading(self) -> str:
        """The metric, with what tells it from others of its task."""
        condition = "" if self.condition == FORWARD else self.condition
        return ", ".join(part for part in (self.metric, condition, self.setting) if part)


@dataclass(frozen=True, kw_only=True)
class RankedCell:
    """One model in one column."""

    value: float  # percent
    low: float | None
    high: float | None
    rank: float  # 1 is the best; equal values share the mean of their ranks
    letters: str = ""  # models that share one are not shown to differ; empty: not tested
    best: bool = False  # ahead of every other one, and shown to be
    used: int  # clips
    listed: int
    complete: bool
    seeds: int  # of pretraining
    keys: tuple[str, ...]  # of the runs


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model takes; None: its results do not say."""

    parameters: int | None = None
    gmacs: float | None = None  # 1e9 multiply-adds per clip and view
    clips_per_second: float | None = None
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Models in the order of their mean rank."""

    measures: tuple[Measure, ...]
    models: tuple[str, ...]
    cells: Mapping[tuple[str, int], RankedCell]  # (model, number of the column)
    mean_ranks: Mapping[str, float]  # over the columns in which all models are; without an entry: there are none
    costs: Mapping[str, Cost]
    notes: tuple[str, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """Percent by model, with the mean rank first; a number that was not measured is NaN."""
        import pandas as pd

        columns: dict[str, list[float]] = {"mean rank": [self.mean_ranks.get(model, np.nan) for model in self.models]}
        for number, measure in enumerate(self.measures):
            cells = [self.cells.get((model, number)) for model in self.models]
            name = f"{measure.task}, {measure.heading}"
            columns[name] = [np.nan if each is None else each.value for each in cells]
        return pd.DataFrame(columns, index=pd.Index(self.models, name="model"))


def make_leaderboard(results: Results, metrics: Sequence[str] = (), *, tested: bool = True) -> Leaderboard:
    """Rank models by every task that they were measured on.

    Args:
        results: of any number of models and tasks; what was measured differently goes into columns of its own.
        metrics: "R@5"; none: the main one of each protocol (R@1, or top-1 of each head).
        tested: whether models are told apart by paired tests, which reads what each clip scored.

    Returns:
        Models by mean rank, where that is none by name.

    Raises:
        ResultError: no result has the metrics, or two runs of one model cannot be told apart.
    """
    columns = [column for task, named in tasks(results.named).items() for column in _columns(task, named, metrics)]
    if not columns:
        raise ResultError(f"no result has {', '.join(metrics)}; leave out --metric for the main one of each protocol")
    cells: dict[tuple[str, int], RankedCell] = {}
    untested: list[str] = []
    for number, (measure, by_model) in enumerate(columns):
        scores = {model: scored for model, named in by_model.items() if (scored := _scores(named, measure))}
        letters = letters_of(list(scores.values())) if tested else {}
        if tested and not letters and len(scores) > 1:
            untested.append(str(measure.task))
        of_column = _ranked(scores, by_model, letters)
        columns[number] = replace(measure, chance=next((each.chance for each in scores.values()), None)), by_model
        cells |= {(model, number): cell for model, cell in of_column.items()}
    models = [model for model in results.models if any(each == model for each, _ in cells)]
    ranks = _mean_ranks(models, cells, len(columns))
    ordered = sorted(models, key=lambda model: (ranks.get(model, np.inf), model))
    of_model = {model: [each for each in results.named if each.model == model] for model in ordered}
    board = Leaderboard(
        measures=tuple(measure for measure, _ in columns),
        models=tuple(ordered),
        cells=cells,
        mean_ranks=ranks,
        costs={model: _cost(named) for model, named in of_model.items()},
        notes=(),
    )
    facts = tuple(
        f"{model}: {model_fact(named[0].result, len({each.seed for each in named}))}"
        for model, named in of_model.items()
    )
    return replace(board, notes=(*_notes(board, untested), *_clip_notes(columns), *facts))


Column = tuple[Measure, dict[str, list[NamedResult]]]
"""A column and the results in it, by model."""


def _columns(task: EvaluationTask, named: Sequence[NamedResult], metrics: Sequence[str]) -> Iterator[Column]:
    """One per metric and way to measure; results that may not be compared never share one."""
    parts = comparable_parts(named)
    for number, part in enumerate(parts):
        require_one_each(part)
        setting = set_apart(parts[0][0], part[0]) if number else ""
        by_model: dict[str, list[NamedResult]] = {}
        for each in part:
            by_model.setdefault(each.model, []).append(each)
        for name, condition in shown_metrics([each.result for each in part], metrics):
            yield Measure(task=task, metric=name, condition=condition, setting=setting), by_model


def _scores(named: Sequence[NamedResult], measure: Measure) -> ModelScores | None:
    return model_scores(named, measure.metric, measure.condition)


def _ranked(
    scores: Mapping[str, ModelScores], by_model: Mapping[str, Sequence[NamedResult]], letters: Mapping[str, str]
) -> dict[str, RankedCell]:
    """The cells of one column."""
    from scipy.stats import rankdata

    models = list(scores)
    ranks = rankdata([-scores[model].value for model in models])
    cells = {}
    for model, rank in zip(models, ranks, strict=True):
        tested = [each.result.coverage[0] for each in by_model[model]]
        others = [set(letters.get(other, "")) for other in models if other != model]
        ours = set(letters.get(model, ""))
        cells[model] = RankedCell(
            value=scores[model].value,
            low=scores[model].low,
            high=scores[model].high,
            rank=float(rank),
            letters=letters.get(model, ""),
            best=bool(ours and others) and int(rank) == 1 and all(each and not each & ours for each in others),
            used=min(each.used for each in tested),
            listed=max(each.listed for each in tested),
            complete=all(each.complete for each in tested),
            seeds=len(by_model[model]),
            keys=tuple(each.result.run.key for each in by_model[model]),
        )
    return cells


def letters_of(scores: Sequence[ModelScores]) -> dict[str, str]:
    """Letters by model: two that share one are not shown to differ, by paired tests corrected for all pairs (Holm).

    Args:
        scores: one per model, of one column.

    Returns:
        "a" has the best model. Empty where no two models can be tested; a model that cannot has no entry.

    Source:
        H.-P. Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, Journal of
        Computational and Graphical Statistics 13 (2004).
    """
    ordered = sorted(scores, key=lambda each: -each.value)
    pairs = [(first, second) for first, second in combinations(ordered, 2)]
    tests = {(a.model, b.model): paired_test(a, b, interval=False) for a, b in pairs}
    p_values = {pair: test.p for pair, test in tests.items() if test}
    testable = [each.model for each in ordered if any(each.model in pair for pair in p_values)]
    corrected = dict(zip(p_values, holm_corrected(list(p_values.values())), strict=True))
    groups = [set(testable)] if testable else []
    for pair in (pair for pair, p in corrected.items() if p < ALPHA):
        split = [group - {model} for group in groups if group >= set(pair) for model in pair]
        groups = [group for group in groups if not group >= set(pair)] + split
        groups = [each for n, each in enumerate(groups) if not _within_another(each, n, groups)]
    groups.sort(key=lambda group: sorted(testable.index(model) for model in group))
    names = dict(zip(map(frozenset, groups), _letters(), strict=False))
    return {model: "".join(name for group, name in names.items() if model in group) for model in testable}


def _within_another(group: set[str], number: int, groups: Sequence[set[str]]) -> bool:
    return any(group < other or (group == other and number > n) for n, other in enumerate(groups) if n != number)


def _letters() -> Iterator[str]:
    """a, b, ... z, a1, b1, ..."""
    for turn in count():
        yield from (f"{letter}{turn or ''}" for letter in ascii_lowercase)


def _mean_ranks(models: Sequence[str], cells: Mapping[tuple[str, int], RankedCell], columns: int) -> dict[str, float]:
    """Over the columns that all models are in; empty where there is none."""
    shared = [number for number in range(columns) if all((model, number) in cells for model in models)]
    if not shared:
        return {}
    return {model: float(np.mean([cells[model, number].rank for number in shared])) for model in models}


def _cost(named: Sequence[NamedResult]) -> Cost:
    """What the results of a model say of its cost, the first that say anything."""
    cost: dict[str, Any] = {}
    for each in named:
        provenance = each.result.provenance
        known = {**(provenance.get("cost") or {}), "clips_per_second": provenance.get("clips_per_second")}
        if known["clips_per_second"] is not None:
            known["device"] = provenance.get("device")
        cost = {**{key: value for key, value in known.items() if value is not None}, **cost}
    return Cost(
        parameters=cost.get("parameters"),
        gmacs=cost.get("gmacs_per_clip"),
        clips_per_second=cost.get("clips_per_second"),
        device=cost.get("device"),
    )


def _clip_notes(columns: Sequence[Column]) -> Iterator[str]:
    """Which clips models were measured with, where these differ in a column."""
    notes = (clip_note([each for named in by_model.values() for each in named]) for _, by_model in columns)
    yield from dict.fromkeys(note for note in notes if note)


def _notes(board: Leaderboard, untested: Sequence[str]) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    yield "percent; intervals are 95 %, over queries or clips"
    if any(cell.letters for cell in board.cells.values()):
        yield (
            "letters: models that share one in a column are not shown to differ (paired tests on the same clips or"
            f" seeds, Holm-corrected for all pairs of the column, {ALPHA:g}); bold: shown to be ahead of all others"
        )
    if untested:
        where = "; ".join(dict.fromkeys(untested))
        yield f"no letters, because what each clip scored is not beside the results: {where}"
    shared = [n for n, _ in enumerate(board.measures) if all((model, n) in board.cells for model in board.models)]
    if len(board.models) > 1 and len(shared) < len(board.measures):
        over = f"over the {len(shared)} of {len(board.measures)} columns that all models are in" if shared else "none"
        yield f"mean rank: {over}" + ("" if shared else ", because no column has all models")
    several = {model: cell.seeds for (model, _), cell in board.cells.items() if cell.seeds > 1}
    if several:
        seeds = ", ".join(f"{model} {number}" for model, number in several.items())
        yield f"mean over seeds of pretraining, whose spread the intervals leave out and the letters do not: {seeds}"
    if any(cost != Cost() for cost in board.costs.values()):
        yield "GMACs: 1e9 multiply-adds per clip, all views; clips/s and device are of the run that measured them"
    if any(None in (cost.parameters, cost.gmacs, cost.clips_per_second) for cost in board.costs.values()):
        yield "cost is blank where results do not say it"
    if any(model.endswith(RANDOM) for model in board.models):
        yield f"{RANDOM}: the weights are not trained"
