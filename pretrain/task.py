"""TVTS pretraining as a task of the trainer: the log, held-out measures, signs of collapse, the state on disk."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass, field

import torch
from torch import nn

from pretrain.config import LaunchConfig, RunConfig
from pretrain.data.loading import COUNTED, NarratedBatch, NarratedLoader
from pretrain.model.tvts import TVTS
from pretrain.objectives import ordering
from pretrain.objectives.losses import chance, check_negatives
from pretrain.run_folder import State, checkpoint_folder
from pretrain.step import StepSettings, backward
from pretrain.validation import Validation
from tvts_bench.distributed import Rank, all_reduce_sum
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.checkpoint import BEST, LAST, TrainingStateError, try_to_save
from tvts_bench.training.dataloader import WorkerError
from tvts_bench.training.metric_logger import MetricWriter, NonFiniteLossError, StepMetrics, refuse_not_finite
from tvts_bench.training.optim import LearningRate, build_optimizer
from tvts_bench.training.trainer import StepOutput, Trainer, TrainerConfig

logger = logging.getLogger(__name__)

_COLLAPSED = {"video": "video_collapsed", "text": "text_collapsed"}
_SORTED = "sorted_samples"
_ADVICE = "lower optim.lr, lengthen optim.warmup or set optim.clip_grad"


class CollapsedError(UserError):
    """All clips, or all transcripts, have had the same embedding for too long."""


@dataclass(kw_only=True, eq=False)
class TVTSTask:
    """One rank's part of a run, from its start or from the state before; see `TrainingTask`.

    `collapsed_steps` is how many steps in a row had collapsed embeddings, as far as was looked; `counts` is what
    happened to samples since the start of the run, on all ranks; `best` and `measured` are held-out measures. All of
    them are part of a run's state.
    """

    config: RunConfig
    launch: LaunchConfig
    rank: Rank
    model: TVTS  # with its start
    loader: NarratedLoader  # of this rank
    validation: Validation
    log_file: MetricWriter
    steps: int  # of the whole run
    state_before: InitVar[State | None] = None  # to resume from
    start: int = 0  # steps that it was resumed after
    best: float | None = None
    measured: dict[str, float] | None = None
    collapsed_steps: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self, state_before: State | None) -> None:
        """Put the model on the rank's device, in training mode.

        Raises:
            UserError: a batch of one sample, which has no negatives.
        """
        config = self.config
        for share in self.loader.mixture.shares:
            check_negatives(share.batch_size, config.objective.align)
        assert self.launch.out is not None
        self.folder = checkpoint_folder(self.launch.out)
        self.checkpoint = self.folder / LAST
        self.model.to(self.rank.device).train()
        scales = {"text_model.": config.text.lr_scale, "pred_model.": config.model.sorter_lr_scale}
        self.optimizer = build_optimizer(self.model, config.optim, scales)
        if state_before is not None:
            self._restore(state_before)
        self._counts_before = dict(self.counts)
        self.lr = LearningRate(self.optimizer, config.optim, self.steps)
        self.settings = step_settings(config, self.rank)

    def batches(self, start: int, stop: int) -> Iterator[NarratedBatch]:
        """As `NarratedLoader.batches`; held-out data that will be needed is loaded first."""
        every = self.config.validation.every
        if self.rank.is_first and every and start // every < stop // every:
            self.validation.prepare()
        return self.loader.batches(start, stop)

    def backward(self, model: nn.Module, batch: NarratedBatch, step: int, is_logged: bool) -> StepOutput:
        """As `pretrain.step.backward`.

        Args:
            model: as it is trained, in DistributedDataParallel or bare.
            batch: this rank's.
            step: from 0.
            is_logged: whether to look for collapse, too.
        """
        objective = self.config.objective.at(step / self.steps)
        metrics = backward(model, batch, step, objective, self.settings, look=is_logged)
        return StepOutput(metrics, len(batch) * self.rank.world_size)

    def on_update(self) -> None:
        """No average of the weights is kept."""

    def log(self, steps: Sequence[StepMetrics]) -> None:
        """Write the log.

        Raises:
            NonFiniteLossError: a loss, or the norm of its gradient, is not finite.
            CollapsedError: embeddings have been the same for `collapse_after` steps. Without L_base, where nothing
                compares clips with each other, that is a warning and ends nothing.
        """
        for each in steps:
            self.log_file.write(self._record(each))
        self.counts = self._counted()
        last = {"step": steps[-1].step, "counts": self.counts, "unreadable": self.loader.failures[-3:]}
        self.log_file.write(last)
        self.log_file.flush()
        refuse_not_finite(steps, _ADVICE)
        for each in steps:
            if each.is_logged:
                self._refuse_collapsed(each)

    def validate(self, step: int) -> None:
        """Measure on held-out data on the first rank; keep the best state where one is wanted."""
        if not self.rank.is_first:
            return
        self.measured, guess = self.validation.measure(self.model)
        self.log_file.write({"step": step, "validation": self.measured, "chance": guess})
        self.log_file.flush()
        value = self.measured.get(self.config.checkpoint.best or "")
        if value is not None and (self.best is None or value > self.best):
            self.best = value
            try_to_save(self.folder / BEST, self.state(step))

    @property
    def not_learned(self) -> str | None:
        """What to say of sorting that was not learned by the last look at held-out data; else None."""
        objective = self.config.objective
        if not objective.sorts or self.measured is None:
            return None
        return ordering.not_learned(objective.sort, self.config.network.items, self.measured)

    def state(self, step: int) -> State:
        """The whole state."""
        return State(
            step=step,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            digest=self.config.lineage,
            world_size=self.rank.world_size,
            best=self.best,
            measured=self.measured,
            collapsed_steps=self.collapsed_steps,
            counts=self.counts,
            sizes=[share.size for share in self.loader.mixture.shares],
        )

    def _restore(self, state: State) -> None:
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.start, self.best, self.measured = state.step, state.best, state.measured
        self.collapsed_steps, self.counts = state.collapsed_steps, dict(state.counts)
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

    def _record(self, each: StepMetrics) -> dict[str, object]:
        """A step's line in the log: only what was measured in it."""
        objective, items = self.config.objective, self.config.network.items
        left_out = {_SORTED, *(() if each.is_logged else _COLLAPSED.values())}
        if objective.sorts and not each.metrics[_SORTED]:  # captions alone: 0 would read as a loss and as accuracies
            left_out |= {"sort", *ordering.chance(objective.sort, items)}
        shown, guess = (
            {name: value for name, value in numbers.items() if name not in left_out}
            for numbers in (each.metrics, chance(objective, each.samples, items))
        )
        record = {"step": each.step, "lr": each.lr, "clips": each.samples, **shown, "chance": guess}
        return {**record, "clips_per_second": each.samples_per_second}

    def _counted(self) -> dict[str, int]:
        """What happened to samples in this and in earlier parts of the run, on all ranks."""
        mine = torch.tensor([self.loader.counts[name] for name in COUNTED], dtype=torch.int64)
        total = Counter(self._counts_before)
        total.update(dict(zip(COUNTED, all_reduce_sum(mine).tolist(), strict=True)))
        return {name: count for name, count in sorted(total.items()) if count}

    def _refuse_collapsed(self, each: StepMetrics) -> None:
        """Count the steps that `each` stands for, and say once when there are too many of them."""
        collapsed = [what for what, name in _COLLAPSED.items() if each.metrics[name] > 0]
        since = (each.step - 1) % self.launch.log_every + 1  # steps that this look stands for
        before, self.collapsed_steps = self.collapsed_steps, self.collapsed_steps + since if collapsed else 0
        if not before < self.config.collapse_after <= self.collapsed_steps:
            return
        what = (
            f"all {' and '.join(collapsed)} embeddings have been alike for {self.collapsed_steps} steps up to step"
            f" {each.step}"
        )
        if self.config.objective.align:
            raise CollapsedError(
                f"{what} (mean cosine above 0.999): the network tells nothing apart; lower optim.lr, or raise "
                "collapse_after if it only starts slowly"
            )
        if self.rank.is_first:
            logger.warning("%s (mean cosine of [CLS] above 0.999): without L_base nothing keeps them apart", what)


def trainer_of(task: TVTSTask, progress: Progress = silent) -> Trainer[NarratedBatch]:
    """The trainer of a run, as its configuration says when what is due."""
    config = task.config
    return Trainer(
        task,
        TrainerConfig(
            steps=task.steps,
            clip_grad=config.optim.clip_grad,
            log_every=task.launch.log_every,
            agree_every=task.launch.log_every,
            validate_every=config.validation.every,
            save_every=config.checkpoint.every_steps,
            save_seconds=60 * config.checkpoint.every_minutes,
            description="pretraining",
        ),
        task.rank,
        step=task.start,
        progress=progress,
    )


def train(task: TVTSTask, trainer: Trainer[NarratedBatch]) -> State:
    """Train to the end and return the last state, which is on disk.

    Steps before an error that is none of theirs, such as data that cannot be read, are saved if they are sane.

    Raises:
        NonFiniteLossError, CollapsedError: training has failed; the log says where.
        StoppedError: it was stopped; the state is on disk.
        UserError: data that cannot be read, a state that cannot be written at the end.
    """
    try:
        trainer.run()
    except (NonFiniteLossError, CollapsedError, TrainingStateError, WorkerError):
        raise  # what is in memory is not worth keeping, cannot be kept, or is half of a step
    except UserError:
        if task.rank.is_first and trainer.step and trainer.metrics.is_finite:
            if task.rank.world_size == 1:  # else the other ranks are not here to agree on the log
                trainer.read_metrics()
            try_to_save(task.checkpoint, task.state(trainer.step), then="")
        raise
    return task.state(trainer.step)


def step_settings(config: RunConfig, rank: Rank) -> StepSettings:
    """What steps need beside their batches."""
    return StepSettings(
        seed=config.seed,
        rank=rank.rank,
        device=rank.device,
        precision=config.optim.precision,
        accumulate=config.optim.accumulate,
    )
