"""What a `Trainer` trains: a task gives batches, gradients, measures and a state, and knows of classes and words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tvts_bench.training.checkpoint import Saved
from tvts_bench.training.metric_logger import StepMetrics
from tvts_bench.training.optim import LearningRate

B = TypeVar("B")


class StepOutput(NamedTuple):
    """What a step's gradient came with."""

    metrics: Mapping[str, Tensor]  # scalars, "loss" among them; the same names in every step of every rank
    samples: int  # over all ranks


class TrainingTask(Protocol[B]):
    """One rank's part of a training. Its two implementations are `ClassificationTask` and `pretrain.task.TVTSTask`."""

    lr: LearningRate
    checkpoint: Path  # the file of the whole state

    @property
    def model(self) -> nn.Module:
        """In training mode, on the rank's device."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of what is trained of the model."""
        ...

    def batches(self, start: int, stop: int) -> Iterator[B]:
        """This rank's batches of steps `start` to `stop - 1`, a function of the step alone."""
        ...

    def backward(self, model: nn.Module, batch: B, step: int, is_logged: bool) -> StepOutput:
        """Add the gradient of the step's loss to the parameters.

        Args:
            model: the task's own, perhaps in DistributedDataParallel.
            batch: of `batches`.
            step: its number, from 0.
            is_logged: whether the metrics are read after this step, so that what waits for a GPU may be looked at.
        """
        ...

    def on_update(self) -> None:
        """The optimiser has changed the weights."""
        ...

    def log(self, steps: Sequence[StepMetrics]) -> None:
        """Write steps down; all ranks are called with the same.

        Raises:
            UserError: training has gone wrong.
        """
        ...

    def validate(self, step: int) -> None:
        """Measure after `step` steps; all ranks are called, and no weight may change."""
        ...

    def state(self, step: int) -> Saved:
        """All that a training is resumed from after `step` steps; all ranks are called."""
        ...
