"""The training loop of fine-tuning, the online probe and pretraining: steps, signals, metrics, states on disk.

What is trained is a `TrainingTask`: it gives batches, gradients, measures and a state, and knows of classes and words.

Nothing here draws a random number: a batch and all that is drawn for it are functions of (seed, step), so a training is
resumed from weights, optimiser and step alone, and on a CPU ends bit-identical to one that was never stopped.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tvts_bench.distributed import Rank, all_reduce_max, wrap_ddp
from tvts_bench.runtime import Progress, silent
from tvts_bench.signals import StoppedError, stop_signals
from tvts_bench.training.checkpoint import Saved, save_checkpoint, try_to_save
from tvts_bench.training.dataloader import refuse_lost_worker
from tvts_bench.training.metric_logger import MetricLogger, StepMetrics
from tvts_bench.training.optim import LearningRate, clip_gradient

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

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of what is trained of the model."""

    def batches(self, start: int, stop: int) -> Iterator[B]:
        """This rank's batches of steps `start` to `stop - 1`, a function of the step alone."""

    def backward(self, model: nn.Module, batch: B, step: int, is_logged: bool) -> StepOutput:
        """Add the gradient of the step's loss to the parameters.

        Args:
            model: the task's own, perhaps in DistributedDataParallel.
            batch: of `batches`.
            step: its number, from 0.
            is_logged: whether the metrics are read after this step, so that what waits for a GPU may be looked at.
        """

    def on_update(self) -> None:
        """The optimiser has changed the weights."""

    def log(self, steps: Sequence[StepMetrics]) -> None:
        """Write steps down; all ranks are called with the same.

        Raises:
            UserError: training has gone wrong.
        """

    def validate(self, step: int) -> None:
        """Measure after `step` steps; all ranks are called, and no weight may change."""

    def state(self, step: int) -> Saved:
        """All that a training is resumed from after `step` steps; all ranks are called."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long a training is, and what is due when."""

    steps: int  # of the whole training
    clip_grad: float | None = None  # the largest norm of the whole gradient; None: not clipped
    log_every: int = 10  # steps between two readings of the metrics, which wait for a GPU
    agree_every: int = 1  # steps between two messages of the ranks about signals and time; each costs a step's latency
    validate_every: int = 0  # steps; 0: never
    save_every: int = 0  # steps; 0: only by time and at the end
    save_seconds: float = 0.0  # 0: not by time
    description: str = "training"  # beside the progress bar


class Trainer(Generic[B]):
    """One rank's training of a task. `run` is all there is to call."""

    def __init__(
        self,
        task: TrainingTask[B],
        config: TrainerConfig,
        rank: Rank,
        *,
        step: int = 0,
        progress: Progress = silent,
    ) -> None:
        """Ready to run.

        Args:
            task: what is trained.
            config: when what is due.
            rank: this process.
            step: steps done, from the state that the task was resumed from.
            progress: shows it.
        """
        self.task, self.config, self.rank, self.step, self.progress = task, config, rank, step, progress
        self.model = wrap_ddp(task.model, rank)
        self.metrics = MetricLogger(rank)

    def run(self) -> None:
        """Train to the end; the last state is on disk then.

        Raises:
            NonFiniteLossError: the loss is not finite any more.
            StoppedError: SIGTERM, Ctrl-C or SIGHUP; the state is on disk, unless it came before the first step.
            TrainingStateError: the state cannot be written.
            UserError: what the task raises.
        """
        with stop_signals() as received:
            try:
                self._train(received)
            except RuntimeError as error:
                # A signal to the whole group ends workers that had not yet begun to ignore it, and torch raises that
                # anywhere, also in the middle of a step: the state saved before is the one to resume from.
                if received():
                    raise StoppedError(received()) from error
                refuse_lost_worker(error)
                raise

    def _train(self, received: Callable[[], int]) -> None:
        """All steps that are left; `received` is the number of a signal, or 0."""
        config, saved = self.config, time.monotonic()
        with self.progress(config.steps, "steps", config.description) as advance:
            advance(self.step)
            self.metrics.start_clock()
            for batch in self.task.batches(self.step, config.steps):
                self._train_step(batch)
                advance(1)
                if self._is_due(config.log_every):
                    self.read_metrics()
                if config.validate_every and self.step % config.validate_every == 0:
                    self.read_metrics()
                    self.task.validate(self.step)
                    self.metrics.start_clock()
                signal, is_late = self._agree(received(), saved)
                if signal or is_late or self._is_due(config.save_every) or self.step == config.steps:
                    self.save(required=bool(signal) or self.step == config.steps)
                    saved = time.monotonic()
                if signal and self.step < config.steps:
                    raise StoppedError(signal)

    def _train_step(self, batch: B) -> None:
        optimizer, groups = self.task.optimizer, self.task.optimizer.param_groups
        lr = self.task.lr.set(self.step)
        is_logged = self._is_due(self.config.log_every, after=1)
        optimizer.zero_grad(set_to_none=True)
        output = self.task.backward(self.model, batch, self.step, is_logged)
        norm = clip_gradient((weight for group in groups for weight in group["params"]), self.config.clip_grad)
        optimizer.step()
        self.task.on_update()
        self.step += 1
        self.metrics.add(
            step=self.step,
            lr=lr / groups[0].get("lr_scale", 1.0),
            samples=output.samples,
            is_logged=is_logged,
            metrics={**output.metrics, "gradient_norm": norm},
        )

    def read_metrics(self) -> None:
        """Have the task write down the steps since the last time. All ranks must call this."""
        if steps := self.metrics.read():
            self.task.log(steps)

    def save(self, *, required: bool) -> None:
        """Write the state, after all that is to be logged; unless `required`, a full disk is only a warning."""
        self.read_metrics()
        state = self.task.state(self.step)
        if self.rank.is_first:  # a disk that is full from the start would cost the whole training
            write = save_checkpoint if required or not self.task.checkpoint.exists() else try_to_save
            write(self.task.checkpoint, state)

    def _is_due(self, every: int, after: int = 0) -> bool:
        """Whether what happens `every` steps, and after the last one, is due, or will be `after` more steps."""
        step = self.step + after
        return every > 0 and (step % every == 0 or step == self.config.steps)

    def _agree(self, signal: int, saved: float) -> tuple[int, bool]:
        """(signal or 0, whether a state is due by time), the same on every rank."""
        is_late = 0 < self.config.save_seconds < time.monotonic() - saved
        if self.rank.world_size > 1:
            if not self._is_due(self.config.agree_every):
                return 0, False
            signal, late = divmod(all_reduce_max(signal * 2 + is_late, self.rank), 2)
            is_late = bool(late)
        return signal, is_late
