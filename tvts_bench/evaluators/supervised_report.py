"""What a supervised training measured, as metrics, tables and words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import Outcome
from tvts_bench.evaluators.classification_report import ClassifierScores, classification_tables, summarise
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.provenance import versions
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import Snapshot
from tvts_bench.training.classification import Trained
from tvts_bench.training.recipe import REFERENCE_BATCH, Recipe
from tvts_bench.training.scoring import Scores, average_views
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A training and its test."""

    recipe: Recipe
    clip: ClipSpec  # as it was tested
    splits: tuple[str, str]  # trained on, tested
    condition: str
    frozen: bool
    held_out: int  # training clips that chose the epoch
    trained: Trained
    scores: Scores
    notes: tuple[str, ...]
    files: Mapping[str, Snapshot]  # split -> its files


def outcome_of(tested: Tested, dataset: Dataset, runtime: Runtime) -> Outcome:
    """The numbers and what they speak of; coverage is that of the tested split, then that of the training split.

    Args:
        tested: the training and its test.
        dataset: has both splits.
        runtime: how it was computed.
    """
    scores = tested.scores
    classified = ClassifierScores(
        condition=tested.condition,
        scores=average_views(scores.logits, tested.recipe.average),
        seed=tested.recipe.seed,
    )
    tables = dict(classification_tables([classified], scores.ids, scores.labels, dataset.class_names))
    if scores.logits.shape[1] > 1:
        tables["view_logits"] = _view_logits(scores)
    tables["curves"] = {name: [row[name] for row in tested.trained.history] for name in tested.trained.history[0]}
    train, test = tested.splits
    computed_by = f"{runtime.device.partition(':')[0]}, batches of {runtime.batch_size}, torch {versions()['torch']}"
    return Outcome(
        metrics=tuple(summarise([classified], scores.labels)),
        coverage=(
            _coverage(tested, dataset, test, scores),
            _coverage(tested, dataset, train, tested.trained),
        ),
        decoders=scores.decoders,
        computed_by={computed_by: len(scores.ids)},
        protocol=in_words(tested),
        tables=tables,
        notes=tested.notes + _optimism(tested),
    )


def _view_logits(scores: Scores) -> dict[str, Any]:
    """One row per clip and view, so that views can be averaged in any way."""
    views = scores.logits.shape[1]
    return {
        "id": [name for name in scores.ids for _ in range(views)],
        "view": list(range(views)) * len(scores.ids),
        "logits": list(scores.logits.reshape(len(scores.ids) * views, -1)),
    }


def _coverage(tested: Tested, dataset: Dataset, split: str, outcome: Scores | Trained) -> SplitCoverage:
    """What was read of a split when it was tested, or trained on."""
    records = dataset.records(split)
    listed, failed = len(records), outcome.failed
    # Those of the test split count, too, where its clips chose the epoch.
    transient = {*(outcome.transient if isinstance(outcome, Scores) else ()), *tested.trained.transient}
    damaged = outcome.damaged if isinstance(outcome, Scores) else ()
    return SplitCoverage(
        split=split,
        fingerprint=dataset.fingerprint(split),
        listed=listed,
        used=listed - len(failed),
        failed=dict(failed),
        damaged=damaged,
        official=tuple(dataset.info.official_sizes.get(split, ())),
        files=tested.files[split],
        transient=tuple(record.id for record in records if record.id in transient),
    )


def _optimism(tested: Tested) -> tuple[str, ...]:
    if tested.recipe.best != "test":
        return ()
    return ("the epoch was chosen on the test clips, as the official code does: the number is optimistic",)


def in_words(tested: Tested) -> tuple[str, ...]:
    """How it was trained and tested, one line each."""
    recipe, trained, (train, _) = tested.recipe, tested.trained, tested.splits
    what = "a linear head on the frozen backbone" if tested.frozen else "backbone and linear head"
    chosen = {
        "held-out": f"the best on {tested.held_out:,} held-out clips of {train}",
        "test": "the best on the test clips themselves",
        "last": "the last",
    }[recipe.best]
    averaged = f", {recipe.average} averaged" if tested.clip.num_views > 1 else ""
    processes = f", {', then '.join(map(str, trained.processes))} processes" if trained.processes != (1,) else ""
    return (
        f"trained on {train}: {what}; seed {recipe.seed}, {recipe.precision}{processes}",
        _optimiser(recipe, tested.frozen),
        _variation(recipe),
        f"tested epoch {trained.epoch} of {trained.epochs}: {chosen}",
        f"tested on {tested.clip}{averaged}",
    )


def _optimiser(recipe: Recipe, frozen: bool) -> str:
    rate = f"{recipe.lr:g} ({recipe.base_lr:g} x {recipe.batch_size} / {REFERENCE_BATCH})"
    parts = [f"{recipe.optimizer}, learning rate {rate}, weight decay {recipe.weight_decay:g}"]
    parts.append(
        f"{recipe.epochs} epochs of batches of {recipe.batch_size}, {recipe.warmup_epochs:g} of warm-up, cosine"
    )
    if not frozen and recipe.layer_decay != 1:
        parts.append(f"layer decay {recipe.layer_decay:g}")
    if not frozen and recipe.time_table == "head":
        parts.append("temporal positions at the head's rate")
    if not frozen and recipe.drop_path:
        parts.append(f"drop path {recipe.drop_path:g}")
    if recipe.clip_grad is not None:
        parts.append(f"gradient clipped to {recipe.clip_grad:g}")
    if recipe.ema is not None:
        parts.append(f"weights averaged ({recipe.ema:g})")
    return ", ".join(parts)


def _variation(recipe: Recipe) -> str:
    """Augmentation and mixing."""
    parts, mix = [str(recipe.augment)], recipe.mix
    if mix.mixes:
        axes = " of time x height" if mix.cutmix_axes == "paper" else ""
        parts.append(f"mixup {mix.mixup:g}, CutMix {mix.cutmix:g}{axes}")
    if mix.smoothing:
        parts.append(f"label smoothing {mix.smoothing:g}")
    return "training clips: " + ", ".join(parts)
