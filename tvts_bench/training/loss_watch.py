"""The losses of recent steps: read off the device now and then, written to the curves, and refused if not finite."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from tvts_bench.errors import UserError
from tvts_bench.training.curves import Curves
from tvts_bench.training.ranks import Rank, mean_over_ranks


class LossError(UserError):
    """A loss, or its gradient, that is no number any more."""


@dataclass(frozen=True)
class _Seen:
    """One step that nobody has looked at yet."""

    step: int
    rate: float
    numbers: Tensor  # [loss, norm of its gradient], on the device: reading them would wait for it


class LossWatch:
    """Collects what steps say; all ranks look at the same steps."""

    def __init__(self, curves: Curves, rank: Rank, *, batch_size: int, steps_per_epoch: int) -> None:
        self._curves, self._rank = curves, rank
        self._batch_size, self._steps_per_epoch = batch_size, steps_per_epoch
        self._unseen: list[_Seen] = []
        self.start_clock()

    def start_clock(self) -> None:
        """Count the time from here: the speed is that of training alone."""
        self._clock = time.perf_counter()

    def add(self, step: int, rate: float, loss: Tensor, norm: Tensor) -> None:
        """Put the numbers of `step` (from 1) aside."""
        self._unseen.append(_Seen(step, rate, torch.stack([loss, norm.to(loss)])))

    def look(self) -> float:
        """The sum of the losses since the last look, the same on every rank.

        Raises:
            LossError: one of them, or its gradient, is not finite; with the step.
        """
        if not self._unseen:
            return 0.0
        unseen, self._unseen = self._unseen, []
        rows = mean_over_ranks(torch.stack([seen.numbers for seen in unseen]).cpu(), self._rank).tolist()
        speed = len(rows) * self._batch_size / max(time.perf_counter() - self._clock, 1e-9)
        self.start_clock()
        for seen, (loss, norm) in zip(unseen, rows, strict=True):
            epoch = (seen.step - 1) / self._steps_per_epoch
            record = {"step": seen.step, "epoch": epoch, "lr": seen.rate, "loss": loss, "gradient_norm": norm}
            self._curves.write_step({**record, "clips_per_second": speed})
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._curves.flush()
                raise LossError(
                    f"the loss is {loss:g} and the norm of its gradient {norm:g} at step {seen.step} (epoch"
                    f" {epoch:.1f}, learning rate {seen.rate:g}): lower the learning rate, lengthen the warm-up or clip"
                    f" the gradient; the curves are in {self._curves.folder}, and a state saved before is whole"
                )
        self._curves.flush()
        return math.fsum(loss for loss, _ in rows)
