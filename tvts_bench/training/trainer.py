"""The training loop of fine-tuning, the online probe and pretraining: steps, signals, metrics, states on disk.

Nothing here draws a random number: a batch and all that is drawn for it are functions of (seed, step), so a training is
resumed from weights, optimiser and step alone, and on a CPU ends bit-identical to one that was never stopped.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from tvts_bench.distributed import Rank, all_reduce_max, wrap_ddp
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.checkpoint import save_or_warn
from tvts_bench.training.dataloader import refuse_lost_worker
from tvts_bench.training.metric_logger import MetricLogger
from tvts_bench.training.optim import clip_gradient
from tvts_bench.training.signals import StoppedError, stop_signals
from tvts_bench.training.task import B, TrainingTask


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
        if self.rank.is_first:
            save_or_warn(self.task.checkpoint, state, required=required)

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
