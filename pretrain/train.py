"""The training loop: steps, the log, held-out measures, states on disk, and an end that is always recorded."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pretrain.checkpoints import BEST, LAST, State, checkpoint_folder, save_state
from pretrain.config import Place, RunConfig
from pretrain.data.batches import NarratedBatch
from pretrain.data.loading import NarratedLoader
from pretrain.model.tvts import TVTS
from pretrain.objectives.health import NonFiniteLossError, check_negatives
from pretrain.runlog import RunLog
from pretrain.step import StepSettings, backward
from pretrain.stepwatch import CollapsedError, StepWatch
from pretrain.validation import Validation
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.optim import LearningRate, build_optimizer, clip_gradient
from tvts_bench.training.ranks import Rank, in_parallel, largest
from tvts_bench.training.signals import StoppedError, stop_signals
from tvts_bench.training.states import TrainingStateError
from tvts_bench.training.step_loading import WorkerError, refuse_lost_worker

logger = logging.getLogger(__name__)


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

    def __post_init__(self) -> None:
        config = self.config
        for share in self.loader.mixture.shares:
            check_negatives(share.batch_size, config.objective.align)
        self.model.to(self.rank.device).train()
        scales = {"text_model.": config.text.lr_scale, "pred_model.": config.model.sorter_lr_scale}
        self.optimizer = build_optimizer(self.model, config.optim, scales)
        self.watch = StepWatch(
            config, self.rank, self.log, self.loader, items=config.network.items, every=self.place.log_every
        )
        if self.state is not None:
            self._restore(self.state)
        self.rate = LearningRate(self.optimizer, config.optim, self.steps)
        self.settings = step_settings(config, self.rank)
        self.wrapped = in_parallel(self.model, self.rank)

    def run(self) -> State:
        """Train to the end and return the last state, which is on disk.

        Raises:
            NonFiniteLossError, CollapsedError: training has failed; the log says where.
            StoppedError: it was told to stop; the state is on disk.
            UserError: data that cannot be read, a state that cannot be written at the end.
        """
        try:
            with stop_signals() as asked:
                self._stoppable(asked)
        except (NonFiniteLossError, CollapsedError, TrainingStateError, WorkerError):
            raise  # what is in memory is not worth keeping, cannot be kept, or is half of a step
        except UserError:
            self._keep_steps()
            raise
        self.save(required=True)
        return self.current()

    def _stoppable(self, asked: Callable[[], int]) -> None:
        try:
            self._train(asked)
        except RuntimeError as error:
            # A signal to the whole group ends workers that had not yet begun to ignore it, and torch raises that
            # anywhere, also in the middle of a step: the state saved before is the one to go on from.
            if asked():
                raise StoppedError(asked()) from error
            refuse_lost_worker(error)
            raise

    def _train(self, asked: Callable[[], int]) -> None:
        """All steps that are left, with what is due between them; `asked` tells a signal."""
        every = self.config.validation.every
        if self.rank.is_first and every and self.step // every < self.steps // every:
            self.validation.prepare()
        saved = time.monotonic()
        with self.progress(self.steps, "steps", "pretraining") as advance:
            advance(self.step)
            self.watch.start_clock()
            for batch in self.loader.batches(self.step, self.steps):
                self._train_on(batch)
                advance(1)
                if self._due(self.place.log_every):
                    self.watch.read()
                if every and self.step % every == 0:
                    self._validate()
                number, late = self._agreed(asked(), saved)
                if number or late or self._due(self.config.checkpoint.every_steps):
                    self.save(required=bool(number))
                    saved = time.monotonic()
                if number:
                    raise StoppedError(number)

    def current(self) -> State:
        """The state as it is now."""
        return State(
            step=self.step,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            digest=self.config.lineage,
            world_size=self.rank.world_size,
            best=self.best,
            measured=self.measured,
            alike=self.watch.alike,
            counts=self.watch.counts,
            sizes=[share.size for share in self.loader.mixture.shares],
        )

    def save(self, *, required: bool) -> None:
        """Write the state, after all that the log has to say.

        Unless `required`, a full disk is only a warning, but not where there is no state yet: a disk that was full from
        the start would cost the whole run.
        """
        self.watch.read()
        if not self.rank.is_first:
            return
        if required or not self._path(LAST).exists():
            save_state(self._path(LAST), self.current())
        else:
            self._try_to_save(LAST, "; training goes on")

    def _keep_steps(self) -> None:
        """Save the steps before an error that is none of theirs, such as data that cannot be read, if they are sane."""
        if not (self.rank.is_first and self.step and self.watch.is_finite):
            return
        if self.rank.world_size == 1:  # else the other ranks are not here to agree on the log
            self.watch.read()
        self._try_to_save(LAST)

    def _try_to_save(self, name: str, then: str = "") -> None:
        """Write the state as `name`; if that cannot be, say so, and what happens `then`."""
        try:
            save_state(self._path(name), self.current())
        except TrainingStateError as error:
            logger.warning("%s%s", error, then)

    def _path(self, name: str) -> Path:
        assert self.place.out is not None
        return checkpoint_folder(self.place.out) / name

    def _restore(self, state: State) -> None:
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.step, self.best, self.measured = state.step, state.best, state.measured
        self.watch.restore(state.alike, state.counts)
        shares = self.loader.mixture.shares
        for share, size in zip(shares, state.sizes or [share.size for share in shares], strict=True):
            if share.size != size and self.rank.is_first:
                logger.warning(
                    "%s has %d samples and had %d when the state was saved: from here on its samples come in another "
                    "order than they would have",
                    share.name,
                    share.size,
                    size,
                )

    def _train_on(self, batch: NarratedBatch) -> None:
        rate = self.rate.set(self.step)
        look = self._due_next(self.place.log_every)
        self.optimizer.zero_grad(set_to_none=True)
        objective = self.config.objective.at(self.step / self.steps)
        result = backward(self.wrapped, batch, self.step, objective, self.settings, look=look)
        trained = (p for group in self.optimizer.param_groups for p in group["params"])
        norm = clip_gradient(trained, self.config.optim.clip_grad)
        self.optimizer.step()
        self.step += 1
        self.watch.add(result, norm, step=self.step, rate=rate, clips=len(batch), looked=look)

    def _validate(self) -> None:
        """Measure on held-out data on the first rank; keep the best state where one is wanted."""
        self.watch.read()
        if not self.rank.is_first:
            return
        measured, guess = self.validation.measure(self.model)
        self.watch.start_clock()
        self.measured = measured
        self.log.write({"step": self.step, "validation": measured, "chance": guess})
        self.log.flush()
        wanted = self.config.checkpoint.best
        if wanted is None or wanted not in measured or (self.best is not None and measured[wanted] <= self.best):
            return
        self.best = measured[wanted]
        self._try_to_save(BEST, "; training goes on")

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
