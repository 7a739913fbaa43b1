"""Classification as a task of the trainer: fine-tuning and the online probe, and the epoch that is tested in the end.

FOLDER/last.pt     the whole state: after every epoch, every few minutes, and when stopped
FOLDER/best.pt     the weights of the best epoch, where one is chosen
FOLDER/steps.csv   learning curves; also epochs.csv, and tensorboard/
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.atomic import remove_leftovers
from tvts_bench.distributed import all_gather_objects, barrier, broadcast_buffers
from tvts_bench.training.checkpoint import RunDir, TrainingState
from tvts_bench.training.classifier import Classifier, ClassifierSettings, backward, fitting
from tvts_bench.training.dataloader import ClipBatch, ClipLoader
from tvts_bench.training.metric_logger import CurveWriter, StepMetrics, refuse_not_finite
from tvts_bench.training.optim import LearningRate, classifier_optimizer
from tvts_bench.training.trainer import StepOutput, Trainer, TrainerConfig

from timm.utils.model_ema import ModelEmaV3  # isort: skip

SAVE_SECONDS = 600.0  # between two states within an epoch

Measure = Callable[[nn.Module], Mapping[str, float]]
"""Measures of a model that choose the epoch: "top_1" in percent, "loss". All ranks call it and get the same numbers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """How a training went; the weights to test are in the model."""

    epoch: int  # whose weights they are, counted from 1
    epochs: int
    history: tuple[Mapping[str, float], ...]  # one record per epoch
    failed: Mapping[str, str]  # training clips that could not be read: id -> reason
    transient: tuple[str, ...] = ()  # ids of clips, also of those that chose the epoch, that may be readable later
    processes: tuple[int, ...] = (1,)  # how many trained it, and again whenever that changed


def train_classifier(
    model: Classifier, loader: ClipLoader, settings: ClassifierSettings, run: RunDir, measure: Measure | None = None
) -> Trained:
    """Train `model` by the recipe in `settings` and leave the weights to test in it, on the rank's device.

    Under torchrun every rank calls this, within a process group; the folder must be one that all ranks share. On a CPU
    a training that was stopped and resumed is bit-identical to one that was not. Torch's global generators are put
    back.

    Args:
        model: from normalised clips to logits.
        loader: this rank's batches.
        settings: recipe, pixels, classes, rank.
        run: folder and digest.
        measure: chooses the epoch (highest top-1, then lowest loss, then the first). None: the last epoch is tested.

    Returns:
        The epoch, its measures and what could not be read.

    Raises:
        NonFiniteLossError: the loss is not finite any more.
        TrainingStateError: there is a state already and `run.resume` is off, or it cannot be read or written.
        StoppedError: SIGTERM, Ctrl-C or SIGHUP; a state is on disk, unless it came before the first.
        UserError: the device's memory does not hold a micro-batch, or what the loader or `measure` raises.
    """
    device = torch.device(settings.rank.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), fitting(settings):
        task = ClassificationTask(model=model, loader=loader, settings=settings, run=run, measure=measure)
        config = TrainerConfig(
            steps=task.steps,
            clip_grad=settings.recipe.clip_grad,
            validate_every=loader.steps_per_epoch,
            save_every=loader.steps_per_epoch,
            save_seconds=SAVE_SECONDS,
        )
        try:
            Trainer(task, config, settings.rank, step=task.start, progress=run.progress).run()
            return task.finish()
        finally:
            task.curves.close()


@dataclass(kw_only=True, eq=False)
class ClassificationTask:
    """One rank's part, resumed from the folder's state where there is one; see `TrainingTask`."""

    model: Classifier
    loader: ClipLoader
    settings: ClassifierSettings
    run: RunDir
    measure: Measure | None
    start: int = 0  # steps that it was resumed after
    loss_sum: float = 0.0  # over the steps of the unfinished epoch
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put the model on the rank's device, in training mode."""
        recipe, rank, run, model = self.settings.recipe, self.settings.rank, self.run, self.model
        self.recipe, self.rank, self.checkpoint = recipe, rank, run.last
        self.per_epoch = self.loader.steps_per_epoch
        self.steps = recipe.epochs * self.per_epoch
        self.processes = [rank.world_size]
        if rank.is_first:
            remove_leftovers(run.folder)
        saved = run.state()
        state = self._unless_changed(saved)
        model.to(rank.device).train()
        self.optimizer = classifier_optimizer(recipe, model.backbone, model.head)
        self.ema = EMA(model.trained, recipe.ema)
        if state is not None:
            self._restore(state)
        elif run.resume and saved is None and rank.is_first:
            log.warning("there is no state of this training in %s to resume: it begins", run.folder)
        self.lr = LearningRate(self.optimizer, recipe.schedule, self.steps)
        self.curves = CurveWriter(run.folder, self.start, self.history, active=rank.is_first)

    def batches(self, start: int, stop: int) -> Iterator[ClipBatch]:
        """As `ClipLoader.batches`."""
        return self.loader.batches(start, stop)

    def backward(self, model: nn.Module, batch: ClipBatch, step: int, is_logged: bool) -> StepOutput:
        """As `classifier.backward`.

        Args:
            model: the task's own, perhaps in DistributedDataParallel.
            batch: of `batches`.
            step: its number.
            is_logged: makes no difference here.
        """
        return StepOutput({"loss": backward(model, batch, step, self.settings)}, self.recipe.batch_size)

    def on_update(self) -> None:
        """Take the step's weights into the average."""
        self.ema.update()

    def log(self, steps: Sequence[StepMetrics]) -> None:
        """Write the curves, and add to the loss of the epoch."""
        for each in steps:
            record = {"step": each.step, "epoch": (each.step - 1) / self.per_epoch, "lr": each.lr}
            self.curves.write({**record, **each.metrics, "clips_per_second": each.samples_per_second})
        self.curves.flush()
        self.loss_sum += math.fsum(each.metrics["loss"] for each in steps)
        advice = "lower the learning rate, lengthen the warm-up or clip the gradient; the curves are in"
        refuse_not_finite(steps, f"{advice} {self.curves.folder}", self.per_epoch)

    def validate(self, step: int) -> None:
        """End an epoch: measure, keep the weights if they are the best so far, and write the epoch down."""
        epoch = step // self.per_epoch
        record: dict[str, float] = {"epoch": epoch, "step": step, "loss": self.loss_sum / self.per_epoch}
        self.loss_sum = 0.0
        if self.measure is not None:
            with self.ema.swapped_in():
                broadcast_buffers(self.model.trained, self.rank)
                record |= {f"measured_{name}": value for name, value in self.measure(self.model).items()}
                if self.rank.is_first and all(_merit(record) > _merit(earlier) for earlier in self.history):
                    self.run.save_best(epoch, self.model.trained.state_dict())
        self.history.append(record)
        self.curves.write_epochs(self.history)

    def state(self, step: int) -> TrainingState:
        """The whole state, the same on every rank but for what a rank's own batch norms saw."""
        for contents in all_gather_objects(dict(self.loader.contents), self.rank.world_size):
            self.run.files.add(contents)  # every rank knows what files all ranks have read
        self.loader.contents.clear()
        failed, transient = self._unread()
        return TrainingState(
            digest=self.run.digest,
            step=step,
            steps=self.steps,
            model=self.model.trained.state_dict(),
            optimizer=self.optimizer.state_dict(),
            average=self.ema.state(),
            loss_sum=self.loss_sum,
            history=self.history,
            failed=failed,
            transient=transient,
            processes=self.processes,
            files=self.run.files.text(),
        )

    def finish(self) -> Trained:
        """How the training went, with the weights to test in the model."""
        epoch = self.recipe.epochs
        barrier(self.rank)  # the first rank has written them
        if self.measure is None:
            self.ema.settle()
            broadcast_buffers(self.model.trained, self.rank)
        else:
            best = self.run.best()
            epoch = best.epoch
            self.model.trained.load_state_dict(best.model)
        self.model.eval()
        failed, transient = self._unread()
        return Trained(
            epoch=epoch,
            epochs=self.recipe.epochs,
            history=tuple(self.history),
            failed=failed,
            transient=tuple(transient),
            processes=tuple(self.processes),
        )

    def _unless_changed(self, state: TrainingState | None) -> TrainingState | None:
        """`state`, or None where files that it was trained on are others now: it is then set aside, with a warning."""
        changed = self.run.files.changed(state.files, self.rank) if state is not None else {}
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
                self.run.set_aside(),
            )
        return None

    def _restore(self, state: TrainingState) -> None:
        self.model.trained.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.ema.restore(state.average)
        self.start, self.loss_sum, self.history = state.step, state.loss_sum, list(state.history)
        self.loader.failed.update(state.failed)
        self.loader.transient.update(state.transient)
        self.run.files.restore(state.files)
        if self.measure is not None and self.history:
            self.run.best()  # refused now, not after the epochs that are left
        if self.start == self.steps:
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

    def _unread(self) -> tuple[dict[str, str], list[str]]:
        """Training clips that could not be read so far, on any rank, and those whose failure may be of the moment."""
        shares = all_gather_objects((self.loader.failed, self.loader.transient), self.rank.world_size)
        failed = {name: reason for failed, _ in shares for name, reason in failed.items()}
        return failed, sorted({name for _, transient in shares for name in transient})


class EMA:
    """timm's moving average of a module's weights, where a decay is given; without one, the module's own weights."""

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        """`decay` is per step, in (0, 1)."""
        self.module = module
        self._average = ModelEmaV3(module, decay=decay) if decay is not None else None

    def update(self) -> None:
        """Take a step's weights into the average."""
        if self._average is not None:
            self._average.update(self.module)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The average in the module; its own weights come back."""
        if self._average is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        self.settle()
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def settle(self) -> None:
        """Leave the average in the module."""
        if self._average is not None:
            self.module.load_state_dict(self._average.module.state_dict())

    def state(self) -> dict[str, Any] | None:
        """The average, for `restore`; None without one."""
        return None if self._average is None else self._average.module.state_dict()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Resume from what `state` returned."""
        if self._average is not None and state is not None:
            self._average.module.load_state_dict(state)


def _merit(record: Mapping[str, float]) -> tuple[float, float]:
    """By what epochs are compared; larger is better."""
    return record["measured_top_1"], -record["measured_loss"]
