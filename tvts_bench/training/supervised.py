"""Supervised training of a classifier: steps, curves, states on disk, the epoch that is tested in the end.

FOLDER/last.pt     the whole state: after every epoch, every few minutes, and when told to stop
FOLDER/best.pt     the weights of the best epoch, where one is chosen
FOLDER/steps.csv   learning curves; also epochs.csv, and tensorboard/
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import distributed, nn

from tvts_bench.atomic import remove_leftovers
from tvts_bench.training.averaging import MeasuredWeights
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.classifier_step import StepSettings, backward, fitting
from tvts_bench.training.clip_loader import ClipBatch, ClipLoader
from tvts_bench.training.curves import Curves
from tvts_bench.training.loss_watch import LossWatch
from tvts_bench.training.optim import clip_gradient
from tvts_bench.training.place import TrainingPlace
from tvts_bench.training.ranks import in_parallel, largest, of_all_ranks, share_buffers
from tvts_bench.training.recipe_optim import build_optimizer, learning_rate
from tvts_bench.training.signals import StoppedError, stop_signals
from tvts_bench.training.states import TrainingState
from tvts_bench.training.step_loading import refuse_lost_worker

LOOK_EVERY = 10  # steps between two looks at the losses, which wait for a GPU
SAVE_SECONDS = 600.0  # between two states within an epoch

Measure = Callable[[nn.Module], Mapping[str, float]]
"""Measures of a model that choose the epoch: "top_1" in percent, "loss". All ranks call it and get the same numbers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """How a training went; the weights to test are in the model."""

    epoch: int  # whose weights they are, counted from 1
    epochs: int
    history: tuple[Mapping[str, float], ...]  # a record an epoch
    failed: Mapping[str, str]  # training clips that could not be read: id -> reason
    transient: tuple[str, ...] = ()  # ids of clips, also of those that chose the epoch, that may be readable later
    processes: tuple[int, ...] = (1,)  # how many trained it, and again whenever that changed


def train_classifier(
    model: Classifier, loader: ClipLoader, settings: StepSettings, place: TrainingPlace, measure: Measure | None = None
) -> Trained:
    """Train `model` by the recipe in `settings` and leave the weights to test in it, on the rank's device.

    Under torchrun every rank calls this, within a process group; the folder must be one that all ranks share. On a CPU
    a training that was stopped and resumed gives the bits of one that was not. Torch's global generators are put back.

    Args:
        model: from normalised clips to logits.
        loader: this rank's batches.
        settings: recipe, pixels, classes, rank.
        place: folder and digest.
        measure: chooses the epoch (highest top-1, then lowest loss, then the first). None: the last epoch is tested.

    Raises:
        LossError: the loss is not finite any more.
        TrainingError: the device's memory does not hold a micro-batch.
        TrainingStateError: there is a state already and `place.resume` is off, or it cannot be read or written.
        StoppedError: SIGTERM, Ctrl-C or SIGHUP; a state is on disk, unless it came before the first.
        UserError: what the loader or `measure` raises.
    """
    device = torch.device(settings.rank.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), fitting(settings):
        training = _Training(model, loader, settings, place, measure)
        try:
            return training.run()
        finally:
            training.curves.close()


class _Training:
    """One rank's training."""

    def __init__(
        self,
        model: Classifier,
        loader: ClipLoader,
        settings: StepSettings,
        place: TrainingPlace,
        measure: Measure | None,
    ) -> None:
        recipe, rank = settings.recipe, settings.rank
        self.model, self.loader, self.settings, self.place, self.measure = model, loader, settings, place, measure
        self.recipe, self.rank = recipe, rank
        self.per_epoch = loader.steps_per_epoch
        self.steps = recipe.epochs * self.per_epoch
        self.step, self.loss_sum = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.processes = [rank.world_size]
        if rank.is_first:
            remove_leftovers(place.folder)
        found = place.found()
        state = self._unless_changed(found)
        model.to(rank.device).train()
        self.optimizer = build_optimizer(recipe, model.backbone, model.head, recipe.batch_size)
        self.weights = MeasuredWeights(model.trained, recipe.ema)
        if state is not None:
            self._restore(state)
        elif place.resume and found is None and rank.is_first:
            log.warning("there is no state of this training in %s to go on from: it begins", place.folder)
        self.rate = learning_rate(recipe, self.optimizer, recipe.batch_size, self.per_epoch)
        self.wrapped = in_parallel(model, rank)
        self.curves = Curves(place.folder, self.step, self.history, active=rank.is_first)
        self.watch = LossWatch(self.curves, rank, batch_size=recipe.batch_size, steps_per_epoch=self.per_epoch)

    def run(self) -> Trained:
        """Train to the end."""
        with stop_signals() as asked:
            try:
                self._train(asked)
            except RuntimeError as error:
                # A signal to the whole group ends workers that had not yet begun to ignore it, and torch raises that
                # anywhere, also in the middle of a step: the state saved before is the one to go on from.
                if asked():
                    raise StoppedError(asked()) from error
                refuse_lost_worker(error)
                raise
        return self._finished()

    def _train(self, asked: Callable[[], int]) -> None:
        saved = time.monotonic()
        with self.place.progress(self.steps, "steps", "training") as advance:
            advance(self.step)
            self.watch.start_clock()
            for batch in self.loader.batches(self.step, self.steps):
                self._train_on(batch)
                advance(1)
                if self.step % LOOK_EVERY == 0:
                    self.loss_sum += self.watch.look()
                ended = self.step % self.per_epoch == 0
                if ended:
                    self._end_epoch()
                number, late = self._agreed(asked(), time.monotonic() - saved > SAVE_SECONDS)
                if ended or number or late:
                    self._save(required=bool(number) or self.step == self.steps)
                    saved = time.monotonic()
                if number and self.step < self.steps:
                    raise StoppedError(number)

    def _train_on(self, batch: ClipBatch) -> None:
        rate = self.rate.set(self.step)
        groups = self.optimizer.param_groups
        self.optimizer.zero_grad(set_to_none=True)
        loss = backward(self.wrapped, batch, self.step, self.settings)
        norm = clip_gradient((weight for group in groups for weight in group["params"]), self.recipe.clip_grad)
        self.optimizer.step()
        self.weights.update()
        self.step += 1
        self.watch.add(self.step, rate / groups[0].get("lr_scale", 1.0), loss, norm)

    def _end_epoch(self) -> None:
        """Measure, keep the weights if they are the best so far, and write the epoch down."""
        self.loss_sum += self.watch.look()
        epoch = self.step // self.per_epoch
        record: dict[str, float] = {"epoch": epoch, "step": self.step, "loss": self.loss_sum / self.per_epoch}
        self.loss_sum = 0.0
        if self.measure is not None:
            with self.weights.in_place():
                share_buffers(self.model.trained, self.rank)
                record |= {f"measured_{name}": value for name, value in self.measure(self.model).items()}
                if self.rank.is_first and all(_merit(record) > _merit(earlier) for earlier in self.history):
                    self.place.keep_best(epoch, self.model.trained.state_dict())
            self.watch.start_clock()
        self.history.append(record)
        self.curves.write_epochs(self.history)

    def _save(self, *, required: bool) -> None:
        """Write the state; unless `required`, a full disk is only a warning."""
        self.loss_sum += self.watch.look()
        failed, transient = self._failed(), self._transient()
        self._collect_contents()
        if not self.rank.is_first:
            return
        state = TrainingState(
            digest=self.place.digest,
            step=self.step,
            steps=self.steps,
            model=self.model.trained.state_dict(),
            optimizer=self.optimizer.state_dict(),
            average=self.weights.state(),
            loss_sum=self.loss_sum,
            history=self.history,
            failed=failed,
            transient=list(transient),
            processes=self.processes,
            files=self.place.files.text(),
        )
        self.place.keep(state, required=required)

    def _unless_changed(self, state: TrainingState | None) -> TrainingState | None:
        """`state`, or None where files that it was trained on are others now: it is then set aside and said."""
        changed = self.place.files.changed(state.files, self.rank) if state is not None else {}
        if state is None or not changed:
            return state
        if self.rank.is_first:
            which = " and ".join(f"{count:,} files of {split}" for split, count in changed.items())
            log.warning(
                "%s changed since this training read them, at step %d of %d: it begins anew, and what was trained on"
                " the old ones is kept in %s",
                which,
                state.step,
                state.steps,
                self.place.set_aside(),
            )
        return None

    def _restore(self, state: TrainingState) -> None:
        self.model.trained.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.weights.restore(state.average)
        self.step, self.loss_sum, self.history = state.step, state.loss_sum, list(state.history)
        self.loader.failed.update(state.failed)
        self.loader.transient.update(state.transient)
        self.place.files.restore(state.files)
        if self.measure is not None and self.history:
            self.place.best()  # refused now, not after the epochs that are left
        if self.step == self.steps:
            self.processes = list(state.processes)
        elif state.processes[-1] != self.rank.world_size:
            self.processes = [*state.processes, self.rank.world_size]
            if self.rank.is_first:
                log.warning(
                    "the training had %d processes and has %d now: clips, mixing and stochastic depth stay the same;"
                    " rounding, statistics of batch norms and dropout within the backbone differ",
                    state.processes[-1],
                    self.rank.world_size,
                )

    def _finished(self) -> Trained:
        """With the weights to test in the model."""
        epoch = self.recipe.epochs
        if self.rank.world_size > 1:
            distributed.barrier()  # the first rank has written them
        if self.measure is None:
            self.weights.settle()
            share_buffers(self.model.trained, self.rank)
        else:
            best = self.place.best()
            epoch = best.epoch
            self.model.trained.load_state_dict(best.model)
        self.model.eval()
        return Trained(
            epoch=epoch,
            epochs=self.recipe.epochs,
            history=tuple(self.history),
            failed=self._failed(),
            transient=self._transient(),
            processes=tuple(self.processes),
        )

    def _failed(self) -> dict[str, str]:
        """The training clips that could not be read so far, on any rank."""
        return {
            name: reason
            for failed in of_all_ranks(self.loader.failed, self.rank.world_size)
            for name, reason in failed.items()
        }

    def _transient(self) -> tuple[str, ...]:
        """Clips whose failure may be of the moment, on any rank."""
        return tuple(sorted(frozenset().union(*of_all_ranks(self.loader.transient, self.rank.world_size))))

    def _collect_contents(self) -> None:
        """Know on every rank what files all ranks have read since the last time."""
        for contents in of_all_ranks(dict(self.loader.contents), self.rank.world_size):
            self.place.files.add(contents)
        self.loader.contents.clear()

    def _agreed(self, number: int, late: bool) -> tuple[int, bool]:
        """(signal or 0, whether a state is due by time), the same on every rank."""
        found = largest(number * 2 + int(late), self.rank)
        return found // 2, bool(found % 2)


def _merit(record: Mapping[str, float]) -> tuple[float, float]:
    """By what epochs are compared; larger is better."""
    return record["measured_top_1"], -record["measured_loss"]
