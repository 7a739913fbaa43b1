"""How a classifier is trained and tested, as configuration: optimiser, mixing, recipe. Needs no torch."""

import re
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError
from tvts_bench.video.spec import MAX_SEED, PLAIN, ClipAugment, ClipSpec, Sampling

MAX_EPOCHS, MAX_BATCH, MAX_VIEWS = 1_000_000, 1_000_000, 1_000  # far beyond what anyone trains
REFERENCE_BATCH = 256  # clips; the batch that `base_lr` is meant for
ALPHAS = (1e-3, 1e3)  # far beyond them numpy's beta distribution draws NaN

Precision = Literal["fp32", "bf16"]
TimeTable = Literal["stem", "head"]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedule. The defaults are TVTS's: constant rate, x0.1 after 12 and 16 of 20 epochs."""

    lr: Annotated[float, Option("The highest learning rate; not scaled with the batch.", above=0)] = 1e-4
    weight_decay: Annotated[
        float, Option("Of matrices only; biases, norms, positions and tokens have none.", least=0)
    ] = 0.0
    betas: Annotated[tuple[float, float], Option("Of AdamW.", least=0, below=1)] = (0.9, 0.999)
    eps: Annotated[float, Option("Of AdamW.", above=0)] = 1e-8
    schedule: Annotated[Literal["constant", "cosine", "step"], Option("Of the learning rate.")] = "step"
    warmup: Annotated[
        float, Option("Share of the run in which the rate rises linearly from about 0.", least=0, below=1)
    ] = 0.0
    milestones: Annotated[
        tuple[float, ...], Option("Increasing shares of the run after which `step` lowers the rate.", above=0, below=1)
    ] = (0.6, 0.8)
    decay: Annotated[float, Option("Factor of each milestone.", above=0)] = 0.1
    final: Annotated[float, Option("Of `cosine`: the rate at the end as a share of lr.", least=0)] = 0.0
    clip_grad: Annotated[float | None, Option("Largest norm of the whole gradient; null: not clipped.", above=0)] = None
    accumulate: Annotated[int, Option("Micro-batches of a step on each process.", least=1, most=MAX_BATCH)] = 1
    precision: Annotated[Precision, Option("bf16: autocast; weights, gradients and losses stay float32.")] = "fp32"

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if list(self.milestones) != sorted(self.milestones):
            raise UserError(f"milestones are increasing shares of the run in (0, 1), got {self.milestones}")


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """How clips of a batch are mixed in pairs (first with last, and so on). The defaults are TVTS's."""

    mixup: Annotated[float, Option("Alpha of the beta distribution of a clip's share; 0: no mixup.")] = 0.8
    cutmix: Annotated[float, Option("Alpha of the beta distribution of the area that stays; 0: no CutMix.")] = 1.0
    prob: Annotated[float, Option("Probability that a batch is mixed at all.", least=0, most=1)] = 1.0
    switch_prob: Annotated[
        float, Option("Probability that a mixed batch is cut, where both are on.", least=0, most=1)
    ] = 0.5
    smoothing: Annotated[
        float, Option("Share of the labels, mixed or not, that is spread over all classes.", least=0, below=1)
    ] = 0.1
    cutmix_axes: Annotated[
        Literal["space", "paper"], Option("paper: time x height, as the official code does by accident.")
    ] = "space"

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        for name in ("mixup", "cutmix"):
            alpha = getattr(self, name)
            if alpha != 0 and not ALPHAS[0] <= alpha <= ALPHAS[1]:
                raise UserError(f"{name} must be 0 or from {ALPHAS[0]:g} to {ALPHAS[1]:g}, got {alpha}")

    @property
    def mixes(self) -> bool:
        """Whether any batch is mixed."""
        return self.prob > 0 and (self.mixup > 0 or self.cutmix > 0)


UNMIXED = MixConfig(mixup=0.0, cutmix=0.0, smoothing=0.0)
"""Clips and labels as they are."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained and tested. The defaults are TVTS's fine-tuning on SSV2."""

    optimizer: Annotated[Literal["sgd", "adamw"], Option("sgd: with Nesterov's momentum.")] = "adamw"
    base_lr: Annotated[
        float, Option("Highest learning rate for a batch of 256; scaled linearly.", flag="--lr", above=0)
    ] = 1e-3
    batch_size: Annotated[
        int,
        Option(
            "Clips a step, over all processes and micro-batches; the learning rate is scaled with it.",
            flag="--total-batch",
            above=0,
            most=MAX_BATCH,
        ),
    ] = 384  # the paper: 12 x 32 GPUs
    weight_decay: Annotated[float, Option("Of matrices only.", least=0)] = 0.05
    momentum: Annotated[float, Option("Of sgd.", least=0, below=1)] = 0.9
    betas: Annotated[tuple[float, float], Option("Of adamw.", least=0, below=1)] = (0.9, 0.999)
    epochs: Annotated[
        int,
        Option("Passes over the training clips; the warm-up keeps its share of them.", above=0, most=MAX_EPOCHS),
    ] = 50
    warmup_epochs: Annotated[float, Option("Of them, those in which the rate rises; then half a cosine down.")] = 5.0
    final_lr: Annotated[float, Option("Rate at the end, as a share of the highest.", least=0)] = 0.0
    layer_decay: Annotated[float, Option("Rate of a layer / that of the one above it; 1: none.", above=0, most=1)] = (
        0.75
    )
    time_table: Annotated[TimeTable, Option("Layer of `temporal_embed`; head: the head's rate and weight decay.")] = (
        "stem"
    )
    # The paper's flag of 0.1 never reached its model.
    drop_path: Annotated[float, Option("Stochastic depth of the last block.", least=0, below=1)] = 0.0
    mix: MixConfig = field(default_factory=MixConfig)
    augment: ClipAugment = field(default_factory=ClipAugment)
    clip_grad: Annotated[float | None, Option("Largest norm of the gradient.", above=0)] = None
    ema: Annotated[
        float | None, Option("Decay a step of averaged weights, which are then tested.", above=0, below=1)
    ] = None
    precision: Precision = "bf16"
    accumulate: Annotated[
        int,
        Option(
            "Micro-batches of a step on each process: the same total batch in less memory.", above=0, most=MAX_BATCH
        ),
    ] = 1
    sampling: Sampling = "segments"  # how frames are chosen, in training and testing
    stride: Annotated[int, Option("Frames between dense frames.", above=0)] = 4
    views: Annotated[str, Option("Temporal x spatial views of a clip in testing.")] = "2x3"
    average: Annotated[
        Literal["probabilities", "logits"], Option("Of a clip's views: probabilities, or logits (the paper's).")
    ] = "probabilities"
    best: Annotated[
        Literal["held-out", "test", "last"],
        Option(
            "The epoch that is tested: held-out (best on a part of train that is not trained on), test (best on the"
            " test clips: as the official code, optimistic) or last."
        ),
    ] = "held-out"
    held_out: Annotated[
        float, Option("Share of the training clips that is held out where that chooses the epoch.", above=0, below=1)
    ] = 0.1
    max_failures: Annotated[
        float,
        Option("Share of the training videos that may be unreadable, but one at least; 0: none.", least=0, below=1),
    ] = 0.05
    seed: Annotated[int, Option("Of everything drawn.", least=0, most=MAX_SEED)] = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UserError(f"warmup_epochs must be less than {self.epochs} epochs, got {self.warmup_epochs:g}")
        _ = self.num_views, self.schedule  # each refuses what makes no sense to it

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

    @property
    def lr(self) -> float:
        """The highest learning rate, for steps of the recipe's batch."""
        return self.base_lr * self.batch_size / REFERENCE_BATCH

    @property
    def schedule(self) -> OptimConfig:
        """The learning rate over the run, and what else the optimiser needs.

        With W steps of warm-up, S steps in all and the highest rate h = `lr`:

            h * (step + 1) / (W + 1)                                           in the warm-up
            f + (h - f) * (1 + cos(pi * (step - W) / (S - W))) / 2             after it, f = final_lr * h
        """
        return OptimConfig(
            lr=self.lr,
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
        """A backbone's clip as it is tested: all views, the same frames each time.

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
