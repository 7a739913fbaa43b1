"""What every head on frozen features takes and gives, and which training clips it is fitted to and chosen by."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """Clips of which features and labels are known: what a head is fitted to."""

    values: Float32Array  # [N, D]; an attentive head's are [N, tokens, D]
    labels: IntArray  # [N], in 0..C-1

    def __post_init__(self) -> None:
        assert len(self.values) == len(self.labels), (self.values.shape, self.labels.shape)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: IntArray) -> "LabelledFeatures":
        """Those clips alone."""
        return LabelledFeatures(values=self.values[rows], labels=self.labels[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Rows of a training set in two parts."""

    fit: IntArray  # rows to train on, ascending
    held: IntArray  # rows to choose by, ascending; empty where no class can spare a clip


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a head has to learn, and what it is tested on in the end."""

    train: LabelledFeatures
    parts: HeldOut  # of `train`: hyper-parameters are chosen on one, then all of it is trained on
    test: Float32Array  # [Q, D], as those of `train`
    num_classes: int  # C

    @property
    def fit(self) -> LabelledFeatures:
        """The part to train on while choosing."""
        return self.train.rows(self.parts.fit)

    @property
    def held(self) -> LabelledFeatures:
        """The part to choose by."""
        return self.train.rows(self.parts.held)

    @property
    def has_held(self) -> bool:
        """Whether there is anything to choose by."""
        return len(self.parts.held) > 0


Advance = Callable[[int], None]
"""Called with how many more units of work are done."""


def unheard(units: int) -> None:
    """The `Advance` that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class HyperparameterChoice:
    """One setting of a head's hyper-parameters that was tried on the held-out part of the training set."""

    setting: str  # in words: "k=20", "lr=0.1 wd=0"
    accuracy: float | None  # top-1 on the held-out part, percent; None: nothing was held out, so nothing was tried
    chosen: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """The scores of the test clips, and how its hyper-parameters were chosen."""

    scores: FloatArray  # [test clips, C]; larger is better, -inf is no answer
    choices: tuple[HyperparameterChoice, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> HyperparameterChoice:
        """The setting the scores are from."""
        return next(choice for choice in self.choices if choice.chosen)


class GradientTrained:
    """What heads that are trained in epochs share; a mixin of their settings."""

    epochs: int
    batch_size: int  # clips; all of them where there are fewer

    def refuse_no_epochs(self) -> None:
        """Refuse no epoch and no batch."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")

    def steps(self, clips: int) -> int:
        """Updates of a run over so many clips."""
        return self.epochs * math.ceil(clips / self.batch_size)

    def steps_of(self, task: Task, runs: int = 1) -> int:
        """Updates of one run over all training clips, and of `runs` over the part to train on while choosing."""
        return self.steps(len(task.train)) + (runs * self.steps(len(task.parts.fit)) if task.has_held else 0)


def percent_right(scores: FloatArray, labels: IntArray) -> float:
    """Top-1 accuracy of scores [N, C], in percent."""
    return 100 * float((np.argmax(scores, axis=1) == labels).mean())


def finite_percent_right(scores: FloatArray, labels: IntArray) -> float:
    """`percent_right`, and 0 of a head that has diverged."""
    return percent_right(scores, labels) if np.isfinite(scores).all() else 0.0


def choices(
    settings: tuple[str, ...], accuracies: tuple[float, ...] | None, chosen: int
) -> tuple[HyperparameterChoice, ...]:
    """The settings as choices; without accuracies, the chosen one alone.

    Args:
        settings: in words, each.
        accuracies: top-1 of each on the held-out part, percent; None: nothing was held out.
        chosen: index of the one that was chosen.
    """
    if accuracies is None:
        return (HyperparameterChoice(setting=settings[chosen], accuracy=None, chosen=True),)
    return tuple(
        HyperparameterChoice(setting=setting, accuracy=accuracy, chosen=index == chosen)
        for index, (setting, accuracy) in enumerate(zip(settings, accuracies, strict=True))
    )


def without_unseen(scores: FloatArray, labels: IntArray) -> FloatArray:
    """`scores` [N, C] with -inf for classes that no training label [M] names: they are no answer."""
    unseen = ~np.isin(np.arange(scores.shape[1]), labels)
    return np.where(unseen, -np.inf, scores)


def hold_out(labels: IntArray, groups: Sequence[str | None], share: float, seed: int) -> HeldOut:
    """About `share` (0..1) of every class, drawn from `seed`; clips of one group are all on one side.

    Every class keeps a clip to train on, so a class that is one clip or one group holds nothing out. Never more than
    `share` (rounded, at least one clip) of a class, except that one group may be up to half of it. scikit-learn's
    splitters promise neither for rare classes.

    Args:
        labels: class of each clip, [N].
        groups: source of each clip; None is a group of its own.
        share: of each class.
        seed: of the draw.
    """
    members: dict[str | int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[row if group is None else group].append(row)  # numbers and names cannot be confused
    sizes = Counter(labels.tolist())
    wanted = {label: max(1, round(share * size)) for label, size in sizes.items()}
    left = Counter(sizes)
    held: list[int] = []
    keys = list(members)

    def room(label: int) -> int:
        untouched = left[label] == sizes[label]
        return max(wanted[label], sizes[label] // 2 if untouched else 0)

    for index in np.random.default_rng(seed).permutation(len(keys)):
        rows = members[keys[index]]
        counts = Counter(labels[rows].tolist())
        if all(count <= room(label) and count < left[label] for label, count in counts.items()):
            held.extend(rows)
            for label, count in counts.items():
                wanted[label] -= count
                left[label] -= count
    taken = np.zeros(len(labels), dtype=np.bool_)
    taken[held] = True
    return HeldOut(fit=np.flatnonzero(~taken), held=np.flatnonzero(taken))


def best(accuracies: Sequence[float]) -> int:
    """Index of the highest accuracy; of equal ones the first, so grids begin with the most cautious setting."""
    return int(np.argmax(accuracies))


def at_the_end(accuracies: Sequence[float], chosen: int) -> bool:
    """Whether the best of an ordered grid is its first or last, and strictly so: a longer grid might hold a better."""
    if len(accuracies) < 3 or chosen not in (0, len(accuracies) - 1):
        return False
    neighbour = accuracies[1] if chosen == 0 else accuracies[-2]
    return accuracies[chosen] > neighbour


@dataclass(frozen=True, kw_only=True)
class LowLabel:
    """How much of the training set is used. Exactly one of the two is given."""

    fraction: float | None = None  # 0..1, of every class, but at least one clip of each
    per_class: int | None = None  # clips of every class; a class with fewer gives all it has

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.per_class is None):
            raise UserError("give one of --fraction and --per-class")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UserError(f"--fraction must be above 0 and at most 1, got {self.fraction:g}")
        if self.per_class is not None and self.per_class < 1:
            raise UserError(f"--per-class must be at least 1, got {self.per_class}")

    def __str__(self) -> str:
        return f"{100 * self.fraction:g} % of every class" if self.fraction else f"{self.per_class} clips a class"

    def count(self, size: int) -> int:
        """Clips taken of a class that has `size`."""
        if self.per_class is not None:
            return min(self.per_class, size)
        assert self.fraction is not None
        return min(max(1, round(self.fraction * size)), size)

    def draw(self, labels: IntArray, seed: int) -> IntArray:
        """Rows of `labels` [N] that are kept, ascending.

        A smaller part of the same seed is contained in a larger one, so that learning curves differ by size alone.
        """
        rng = np.random.default_rng(seed)
        rows = [
            own[rng.permutation(len(own))[: self.count(len(own))]]
            for label in np.unique(labels)
            for own in [np.flatnonzero(labels == label)]
        ]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)
