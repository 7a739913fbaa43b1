"""The training loop: steps, the log, held-out measures, states on disk, and an end that is always recorded."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pretrain.checkpoints import BEST, LAST, State, checkpoint_folder, save_state
from pretrain.config import Place, RunConfig
from pretrain.data.loading import NarratedLoader
from pretrain.model.tvts import TVTS
from pretrain.objectives.health import NonFiniteLossError, check_negatives
from pretrain.objectives.total import chance
from pretrain.runlog import RunLog
from pretrain.step import StepResult, StepSettings, backward
from pretrain.validation import Validation
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.optim import LearningRate, build_optimizer, clip_gradient
from tvts_bench.training.ranks import Rank, largest, mean_over_ranks
from tvts_bench.training.signals import StoppedError, stop_signals

logger = logging.getLogger(__name__)


class CollapsedError(UserError):
    """All clips, or all transcripts, have had the same embedding for too long."""


@dataclass(kw_only=True)
class Trainer:
    """One rank's run, from `start` to `steps`. `run` is all there is to call."""

    config: RunConfig
    place: Place
    rank: Rank
    model: TVTS
    loader: NarratedLoader
    validation: Validation
    log: RunLog
    steps: int
    state: State | None = None  # to continue from
    progress: Progress = silent
    best: float | None = None
    measured: dict[str, float] | None = None
    step: int = 0  # steps done
    alike: int = 0  # steps in a row with collapsed embeddings
    _pending: list[tuple[dict[str, Any], torch.Tensor, tuple[str, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.config
        for share in self.loader.mixture.shares:
            check_negatives(share.batch_size, config.objective.align)
        self.model.to(self.rank.device).train()
        self.optimizer = build_optimizer(self.model, config.optim, {"text_model.": config.text.lr_scale})
        if self.state is not None:
            self._restore(self.state)
        self.rate = LearningRate(self.optimizer, config.optim, self.steps)
        self.settings = step_settings(config, self.rank)
        self.wrapped: nn.Module = self.model
        if self.rank.world_size > 1:
            gpu = [self.rank.device] if self.rank.device.startswith("cuda") else None
            self.wrapped = DistributedDataParallel(self.model, device_ids=gpu)

    def run(self) -> State:
        """Train to the end and return the last state, which is on disk.

        Raises:
            NonFiniteLossError, CollapsedError: training has failed; the log says where.
            StoppedError: it was told to stop; the state is on disk.
            UserError: data that cannot be read, a state that cannot be written at the end.
        """
        saved, self._clock = time.monotonic(), time.perf_counter()
        with stop_signals() as asked, self.progress(self.steps, "steps", "pretraining") as advance:
            advance(self.step)
            for batch in self.loader.batches(self.step, self.steps):
                self._train_on(batch)
                advance(1)
                if self._due(self.place.log_every):
                    self._write_pending()
                if self.step % max(self.config.validation.every, 1) == 0 and self.config.validation.every:
                    self._validate()
                number, late = self._agreed(asked(), saved)
                if number or late or self._due(self.config.checkpoint.every_steps):
                    self.save(required=bool(number))
                    saved = time.monotonic()
                if number:
                    raise StoppedError(number)
        self.save(required=True)
        return self.current()

    def current(self) -> State:
        """The state as it is now."""
        return State(
            step=self.step,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            digest=self.config.digest,
            world_size=self.rank.world_size,
            best=self.best,
            measured=self.measured,
            alike=self.alike,
        )

    def save(self, *, required: bool) -> None:
        """Write the state, after all that the log has to say; unless `required`, a full disk is only a warning."""
        self._write_pending()
        if not self.rank.is_first:
            return
        assert self.place.out is not None
        try:
            save_state(checkpoint_folder(self.place.out) / LAST, self.current())
        except UserError as error:
            if required:
                raise
            logger.warning("%s; training goes on", error)

    def _restore(self, state: State) -> None:
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.step, self.best, self.measured, self.alike = state.step, state.best, state.measured, state.alike

    def _train_on(self, batch: Any) -> None:
        """One step, its numbers put aside until the log is due."""
        rate = self.rate.set(self.step)
        look = self._due_next(self.place.log_every)
        self.optimizer.zero_grad(set_to_none=True)
        result = backward(self.wrapped, batch, self.step, self.config.objective, self.settings, look=look)
        trained = (p for group in self.optimizer.param_groups for p in group["params"])
        norm = clip_gradient(trained, self.config.optim.clip_grad)
        self.optimizer.step()
        self.step += 1
        self._keep(result, norm, rate, len(batch) * self.rank.world_size)

    def _keep(self, result: StepResult, norm: torch.Tensor, rate: float, clips: int) -> None:
        loss = result.loss
        values = {"loss": loss.total.detach(), "base": loss.base, "sort": loss.sort, "gradient_norm": norm}
        values |= loss.metrics
        values |= {
            "video_collapsed": torch.tensor(float(result.video_collapsed)),
            "text_collapsed": torch.tensor(float(result.text_collapsed)),
        }
        present = {name: value for name, value in values.items() if value is not None}
        stacked = torch.stack([value.detach().to(loss.total.device, torch.float32) for value in present.values()])
        record = {"step": self.step, "lr": rate, "clips": clips}
        self._pending.append((record, stacked, tuple(present)))

    def _write_pending(self) -> None:
        """Read the numbers of the steps since the last time, log them, and stop if they are not sane."""
        if not self._pending:
            return
        rows = mean_over_ranks(torch.stack([values for _, values, _ in self._pending]).cpu(), self.rank)
        now = time.perf_counter()
        rate = sum(record["clips"] for record, _, _ in self._pending) / max(now - self._clock, 1e-9)
        self._clock = now
        pending, self._pending = self._pending, []
        for (record, _, names), row in zip(pending, rows, strict=True):
            found = dict(zip(names, row.tolist(), strict=True))
            guess = chance(self.config.objective, record["clips"], self.model.config.items)
            self.log.write({**record, **found, "chance": guess, "clips_per_second": rate})
        skipped = dict(sorted(self.loader.counts.items()))
        self.log.write({"step": self.step, "counts": skipped, "unreadable": self.loader.failures[-3:]})
        self.log.flush()
        self._stop_if_sick(pending, rows)

    def _stop_if_sick(self, pending: list[tuple[dict[str, Any], torch.Tensor, tuple[str, ...]]], rows: Any) -> None:
        for (record, _, names), row in zip(pending, rows, strict=True):
            loss = float(row[names.index("loss")])
            if not torch.isfinite(torch.tensor(loss)):
                raise NonFiniteLossError(
                    f"the loss is {loss:g} at step {record['step']}: lower optim.lr, lengthen optim.warmup or set "
                    "optim.clip_grad; the state saved before is whole"
                )
        _, names = pending[-1][0], pending[-1][2]
        sick = [name for name in ("video", "text") if float(rows[-1][names.index(f"{name}_collapsed")]) > 0]
        self.alike = self.alike + len(pending) if sick else 0
        if self.alike >= self.config.collapse_after:
            raise CollapsedError(
                f"all {' and '.join(sick)} embeddings have been alike for {self.alike} steps up to step {self.step} "
                "(mean cosine above 0.999): the network tells nothing apart; lower optim.lr, or raise collapse_after "
                "if it only starts slowly"
            )

    def _validate(self) -> None:
        """Measure on held-out data on the first rank; keep the best state where one is wanted."""
        self._write_pending()
        if not self.rank.is_first:
            return
        measured, guess = self.validation.measure(self.model)
        self._clock = time.perf_counter()  # the rate is that of training alone
        self.measured = measured
        self.log.write({"step": self.step, "validation": measured, "chance": guess})
        self.log.flush()
        wanted = self.config.checkpoint.best
        if wanted is None or wanted not in measured or (self.best is not None and measured[wanted] <= self.best):
            return
        self.best = measured[wanted]
        assert self.place.out is not None
        try:
            save_state(checkpoint_folder(self.place.out) / BEST, self.current())
        except UserError as error:
            logger.warning("%s; training goes on", error)

    def _due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.steps)

    def _due_next(self, every: int) -> bool:
        """Whether `every` will be due after the coming step."""
        return (self.step + 1) % every == 0 or self.step + 1 == self.steps

    def _agreed(self, number: int, saved: float) -> tuple[int, bool]:
        """(signal or 0, whether a state is due by time), the same on every rank."""
        minutes = self.config.checkpoint.every_minutes
        late = bool(minutes) and time.monotonic() - saved > 60 * minutes
        if self.rank.world_size > 1:
            if not self._due(self.place.log_every):  # asking costs a message between the ranks
                return 0, False
            number, late = largest(number, self.rank), bool(largest(int(late), self.rank))
        return number, late


def step_settings(config: RunConfig, rank: Rank) -> StepSettings:
    """What steps need beside their batches."""
    return StepSettings(
        seed=config.seed,
        rank=rank.rank,
        device=rank.device,
        precision=config.optim.precision,
        accumulate=config.optim.accumulate,
    )
