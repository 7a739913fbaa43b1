"""A recipe: everything that decides how a classifier is trained and tested, as one frozen dataclass."""

import re
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import nn

from tvts_bench.backbones.base import Backbone
from tvts_bench.errors import UserError
from tvts_bench.training.mixup import UNMIXED, MixConfig
from tvts_bench.training.optim import LearningRate, OptimConfig, Precision, TimeTable, layer_groups
from tvts_bench.video.spec import ClipSpec, Sampling
from tvts_bench.video.variation import PLAIN, ClipAugment

MAX_EPOCHS, MAX_BATCH, MAX_VIEWS = 1_000_000, 1_000_000, 1_000  # far beyond what anyone trains
REFERENCE_BATCH = 256  # clips; the batch that `base_lr` is meant for

Optimizer = Literal["sgd", "adamw"]
Average = Literal["probabilities", "logits"]
Choice = Literal["held-out", "test", "last"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained and tested. The defaults are TVTS's fine-tuning on SSV2."""

    optimizer: Optimizer = "adamw"  # sgd: with Nesterov's momentum
    base_lr: float = 1e-3  # the highest learning rate for a batch of 256 clips; scaled linearly with the batch
    batch_size: int = 384  # clips a step, over all processes and micro-batches (the paper: 12 x 32 GPUs)
    weight_decay: float = 0.05  # of matrices only
    momentum: float = 0.9  # of sgd
    betas: tuple[float, float] = (0.9, 0.999)  # of adamw
    epochs: int = 50
    warmup_epochs: float = 5.0  # the rate rises linearly; then half a cosine down
    final_lr: float = 0.0  # at the end, as a share of the highest
    layer_decay: float = 0.75  # rate of a layer / rate of the one above it; 1: the same everywhere
    time_table: TimeTable = "stem"  # layer of `temporal_embed`; head: the head's rate and weight decay
    drop_path: float = 0.0  # stochastic depth of the last block; the paper's flag of 0.1 never reached its model
    mix: MixConfig = field(default_factory=MixConfig)
    augment: ClipAugment = field(default_factory=ClipAugment)
    clip_grad: float | None = None  # the largest norm of the whole gradient; None: not clipped
    ema: float | None = None  # decay a step of averaged weights, which are then the ones tested; None: none
    precision: Precision = "bf16"
    accumulate: int = 1  # micro-batches of one step on each process
    sampling: Sampling = "segments"  # how frames are chosen, in training and testing
    stride: int = 4  # frames between frames of a dense clip
    views: str = "2x3"  # in testing: temporal x spatial
    average: Average = "probabilities"  # of the views of a clip; the official code averages logits
    best: Choice = "held-out"  # which epoch is tested: best on a held-out part of train, best on test, or the last
    held_out: float = 0.1  # share of the training clips that is held out where that chooses the epoch
    max_failures: float = 0.05  # share of the training videos that may be unreadable, but one at least; 0: none
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        choices = (("optimizer", Optimizer), ("average", Average), ("best", Choice), ("time_table", TimeTable))
        for name, allowed in choices:
            if getattr(self, name) not in get_args(allowed):
                raise UserError(f"{name} must be one of {', '.join(get_args(allowed))}, got {getattr(self, name)!r}")
        for name in ("base_lr", "batch_size", "epochs", "accumulate"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")
        for name, limit in (("epochs", MAX_EPOCHS), ("batch_size", MAX_BATCH), ("accumulate", MAX_BATCH)):
            if getattr(self, name) > limit:
                raise UserError(f"{name} must be at most {limit:,}, got {getattr(self, name):,}")
        for name in ("momentum", "drop_path", "max_failures"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"layer_decay must be in (0, 1], got {self.layer_decay}")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out must be in (0, 1), got {self.held_out}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f"ema must be in (0, 1) or left out, got {self.ema}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UserError(f"warmup_epochs must be less than {self.epochs} epochs, got {self.warmup_epochs:g}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}")
        _ = self.num_views, self.schedule(REFERENCE_BATCH)  # each refuses what makes no sense to it

    @property
    def num_views(self) -> tuple[int, Literal[1, 3]]:
        """Temporal and spatial views of `views`."""
        match = re.fullmatch(r"([1-9][0-9]{0,8})x([13])", self.views)
        if match is not None and int(match[1]) > MAX_VIEWS:
            raise UserError(f"views must be at most {MAX_VIEWS:,} temporal ones, got {self.views!r}")
        if match is None:
            raise UserError(
                f"views must be temporal x spatial, with 1 or 3 spatial ones, such as 2x3 or 5x1, got {self.views!r}"
            )
        return int(match[1]), 3 if match[2] == "3" else 1

    def lr(self, total_batch: int) -> float:
        """The highest learning rate, for steps of `total_batch` clips."""
        return self.base_lr * total_batch / REFERENCE_BATCH

    def schedule(self, total_batch: int) -> OptimConfig:
        """The learning rate over the run, and what else the optimiser needs."""
        return OptimConfig(
            lr=self.lr(total_batch),
            weight_decay=self.weight_decay,
            betas=self.betas,
            schedule="cosine",
            warmup=self.warmup_epochs / self.epochs,
            final=self.final_lr,
            clip_grad=self.clip_grad,
            accumulate=self.accumulate,
            precision=self.precision,
        )

    def training_clip(self, clip: ClipSpec) -> ClipSpec:
        """A backbone's clip as it is trained on: one view, frames as the augmentation says."""
        return replace(
            clip,
            sampling=self.sampling,
            stride=self.stride,
            position=self.augment.frames,
            temporal_views=1,
            spatial_views=1,
        )

    def testing_clip(self, clip: ClipSpec) -> ClipSpec:
        """A backbone's clip as it is tested: all views, frames at fixed places.

        Several spatial views need a longer side to lie along, so frames are then not squashed.
        """
        temporal, spatial = self.num_views
        return replace(
            clip,
            sampling=self.sampling,
            stride=self.stride,
            position="center",
            temporal_views=temporal,
            spatial_views=spatial,
            resize="short_side" if spatial > 1 else clip.resize,
        )


def without_augmentation(recipe: Recipe) -> Recipe:
    """The same recipe on clips and labels as they are: what a probe on cached features is compared with."""
    return replace(recipe, augment=PLAIN, mix=UNMIXED)


def classifier_optimizer(
    recipe: Recipe, backbone: Backbone, head: nn.Module, total_batch: int
) -> torch.optim.Optimizer:
    """The optimiser of `recipe`.

    Args:
        recipe: kind, rates and weight decay.
        backbone: its parameters without `requires_grad` are left out.
        head: trained with the full rate.
        total_batch: clips of a step, over all processes; the rate is scaled with it.

    Returns:
        It, with a group for each rate and weight decay.

    Raises:
        BackboneError: the recipe decays rates by layer and the backbone does not know its layers.
    """
    groups = layer_groups(
        backbone,
        head,
        weight_decay=recipe.weight_decay,
        factor=recipe.layer_decay,
        time_table=recipe.time_table,
    )
    if recipe.optimizer == "sgd":  # Nesterov's, as what the official code calls sgd
        return torch.optim.SGD(
            groups, lr=recipe.lr(total_batch), momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=recipe.lr(total_batch), betas=recipe.betas)


def lr_schedule(
    recipe: Recipe, optimizer: torch.optim.Optimizer, total_batch: int, steps_per_epoch: int
) -> LearningRate:
    """What sets the rate of every step (from 0) in `optimizer`; a group has its `lr_scale` times that.

    With W = warmup_epochs * steps_per_epoch steps of warm-up, S steps in all and the highest rate
    h = base_lr * total_batch / 256:

        h * (step + 1) / (W + 1)                                           in the warm-up
        f + (h - f) * (1 + cos(pi * (step - W) / (S - W))) / 2             after it, f = final_lr * h

    Args:
        recipe: the schedule.
        optimizer: whose rates are set.
        total_batch: clips of a step, over all processes.
        steps_per_epoch: whole batches of an epoch.

    Returns:
        What sets the rate of a step.
    """
    return LearningRate(optimizer, recipe.schedule(total_batch), recipe.epochs * steps_per_epoch)
