"""What every head on frozen features takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]


class ProbeError(UserError):
    """A probe that cannot be trained as asked: a setting out of range, too few clips."""


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
    """What a head has to learn, and what it is asked in the end."""

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
"""Told how many more units of work are done."""


def unheard(units: int) -> None:
    """The `Advance` that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One setting of a head's hyper-parameters that was tried on the held-out part of the training set."""

    setting: str  # in words: "k=20", "lr=0.1 wd=0"
    accuracy: float | None  # top-1 on the held-out part, percent; None: nothing was held out, so nothing was tried
    chosen: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What a head says of the test clips, and how its hyper-parameters were chosen."""

    scores: FloatArray  # [test clips, C]; larger is better, -inf is no answer
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Choice:
        """The setting the scores are from."""
        return next(choice for choice in self.choices if choice.chosen)


def percent_right(scores: FloatArray, labels: IntArray) -> float:
    """Top-1 accuracy of scores [N, C], in percent."""
    return 100 * float((np.argmax(scores, axis=1) == labels).mean())


def choices(settings: tuple[str, ...], accuracies: tuple[float, ...] | None, chosen: int) -> tuple[Choice, ...]:
    """A `Choice` for each setting; without accuracies, for the chosen one alone."""
    if accuracies is None:
        return (Choice(setting=settings[chosen], accuracy=None, chosen=True),)
    return tuple(
        Choice(setting=setting, accuracy=accuracy, chosen=index == chosen)
        for index, (setting, accuracy) in enumerate(zip(settings, accuracies, strict=True))
    )


def without_unseen(scores: FloatArray, labels: IntArray) -> FloatArray:
    """`scores` [N, C] with -inf for classes that no training label [M] names: they are no answer."""
    unseen = ~np.isin(np.arange(scores.shape[1]), labels)
    return np.where(unseen, -np.inf, scores)
