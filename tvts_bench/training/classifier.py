"""A backbone with a linear head: what probes and fine-tuning train.

Its stochastic depth draws from a clip's own seed: the same whatever batch, micro-batch or process the clip is in.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone, as_embedding
from tvts_bench.distributed import Rank, sync_on_last
from tvts_bench.errors import UserError
from tvts_bench.training.dataloader import ClipBatch
from tvts_bench.training.mixup import mix
from tvts_bench.training.optim import autocast
from tvts_bench.training.recipe import Recipe
from tvts_bench.training.sampler import seed_of
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import normalise

from timm.layers import DropPath  # type: ignore[attr-defined] # isort: skip
from timm.models.vision_transformer import Block  # isort: skip


HEAD_STD = (
    2e-5  # as BEiT's and VideoMAE's fine-tuning: 0.02 x 0.001, so that the first steps disturb the backbone little
)


class Classifier(nn.Module):
    """Logits of clips: a linear layer on the backbone's embedding. The backbone is a copy: the caller's stays as it is.

    Frozen, the backbone stays in evaluation mode and gets no gradient. The head computes in float32 whatever the
    precision of the backbone, as the heads on stored features do.
    """

    def __init__(
        self, backbone: Backbone, num_classes: int, *, frozen: bool, drop_path: float = 0.0, seed: int = 0
    ) -> None:
        """Copy the backbone and draw the head.

        Args:
            backbone: copied, with its weights.
            num_classes: C.
            frozen: only the head is trained.
            drop_path: stochastic depth of the last block, rising linearly from 0 at the first.
            seed: of the head's weights; no global random state is read or changed.

        Raises:
            UserError: `drop_path` for a backbone without timm's blocks.
        """
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(not frozen)
        self.head = nn.Linear(backbone.embed_dim, num_classes, device="meta").to_empty(device="cpu")
        nn.init.normal_(self.head.weight, std=HEAD_STD, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.head.bias)
        self.frozen = frozen
        if not frozen:
            _set_drop_path(self.backbone, drop_path)
        self.train()

    def train(self, mode: bool = True) -> "Classifier":
        """Training mode, of the head alone where the backbone is frozen."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        """Float32 logits [B, C] of normalised clips [B, 3, T, H, W]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            embeddings = as_embedding(self.backbone(clips), self.backbone, len(clips))
        with torch.autocast(clips.device.type, enabled=False):
            return self.head(embeddings.float())  # type: ignore[no-any-return]

    @property
    def trained(self) -> nn.Module:
        """What training changes: the head, or all of it."""
        return self.head if self.frozen else self


def _set_drop_path(backbone: Backbone, rate: float) -> None:
    """Stochastic depth of every block: 0 at the first, `rate` at the last."""
    blocks = [module for module in backbone.modules() if isinstance(module, Block)]
    if not blocks:
        if rate:
            raise UserError(
                f"backbone {backbone.family} has no transformer blocks to drop at random: drop_path must be 0 for it,"
                f" got {rate}"
            )
        return
    for depth, block in enumerate(blocks):
        own = rate * depth / max(len(blocks) - 1, 1)
        block.drop_path1, block.drop_path2 = (
            ClipDropPath(own, 2 * depth + branch) if own else nn.Identity() for branch in range(2)
        )


class ClipDropPath(DropPath):
    """timm's DropPath, with a draw from each clip's own seed. Without seeds it draws as timm's does."""

    def __init__(self, drop_prob: float, number: int) -> None:
        """`number` tells this one from the others of a network."""
        super().__init__(drop_prob)
        self.number = number
        self.seeds: Sequence[int] | None = None  # of the clips of the coming forward pass

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, ...] or [B * n, ...], the n rows of a clip one after the other."""
        if self.seeds is None or not self.training:
            return super().forward(x)  # type: ignore[no-any-return]
        assert len(x) % len(self.seeds) == 0, (x.shape, len(self.seeds))
        rows = len(x) // len(self.seeds)
        draws = [np.random.Generator(np.random.PCG64([seed, self.number])).random(rows) for seed in self.seeds]
        kept = torch.from_numpy(np.concatenate(draws) >= self.drop_prob)
        scale = kept.to(x.device, x.dtype) / (1 - self.drop_prob)
        return x * scale.view(-1, *(1,) * (x.ndim - 1))


def seed_drop_paths(model: nn.Module, seeds: Sequence[int]) -> None:
    """Give every `ClipDropPath` of `model` the seeds of the clips of its next forward pass."""
    for module in model.modules():
        if isinstance(module, ClipDropPath):
            module.seeds = seeds


_MIX, _DROP = 3, 4  # what a seed is for; clips and their order use 1 and 2
_SAME_DRAW = 12  # clips: the paper's batch a GPU; an even number


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """What a step needs beside its batch."""

    recipe: Recipe
    clip: ClipSpec  # mean and deviation of the pixels
    num_classes: int  # C
    rank: Rank

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        parts = self.rank.world_size * self.recipe.accumulate
        if self.recipe.batch_size % parts:
            raise UserError(
                f"a batch of {self.recipe.batch_size} clips cannot be divided into {self.rank.world_size} processes x"
                f" {self.recipe.accumulate} micro-batches; make it a multiple of {parts}"
            )

    @property
    def share(self) -> int:
        """Clips of a full step on this rank."""
        return self.recipe.batch_size // self.rank.world_size


def backward(model: nn.Module, batch: ClipBatch, step: int, settings: ClassifierSettings) -> Tensor:
    """Add the gradient of the step's loss to the parameters; this rank's loss, without gradient.

    The loss is the sum of the clips' cross-entropies, divided by the clips of a full batch: the mean over the ranks is
    that of the global batch, and a clip that could not be read is a clip without gradient, on any rank.

    Args:
        model: from normalised clips to logits, in training mode, perhaps in DistributedDataParallel.
        batch: this rank's.
        step: its number.
        settings: the rest.

    Returns:
        A scalar on the rank's device.
    """
    recipe, rank = settings.recipe, settings.rank
    total = torch.zeros((), device=rank.device)
    parts = _parts(batch.positions, recipe.accumulate)
    for number, rows in enumerate(parts):
        pixels, targets = _mixed(batch, rows, step, settings)
        seed_drop_paths(model, batch.seeds[rows] or (0,))
        torch.manual_seed(seed_of(_DROP, recipe.seed, step, rank.rank * recipe.accumulate + number))
        with sync_on_last(model, is_last=number == len(parts) - 1):
            with autocast(rank.device, recipe.precision), _norms_at_rest(model, batch, rows, settings):
                logits = model(pixels)
            loss = F.cross_entropy(logits.float(), targets, reduction="sum") / settings.share
            loss.backward()
        total += loss.detach()
    return total


def _mixed(batch: ClipBatch, rows: slice, step: int, settings: ClassifierSettings) -> tuple[Tensor, Tensor]:
    """Normalised clips and soft targets on the device. In place of no clip, one without a class, and so no loss."""
    device, recipe, clips = settings.rank.device, settings.recipe, batch.clips[rows]
    if not len(clips):  # all were unreadable; DistributedDataParallel waits for a backward pass all the same
        nothing = torch.zeros(1, *clips.shape[1:], device=device)
        return nothing, torch.zeros(1, settings.num_classes, device=device)
    pixels = normalise(clips.to(device, non_blocking=True), settings.clip.mean, settings.clip.std)
    labels = batch.labels[rows].to(device)
    if not recipe.mix.mixes:
        return mix(pixels, labels, recipe.mix, settings.num_classes, seed=0)
    mixed = []
    for pair in _pairs(batch.positions[rows]):
        seed = seed_of(_MIX, recipe.seed, step, batch.positions[rows][pair.start] // _SAME_DRAW)
        mixed.append(mix(pixels[pair], labels[pair], recipe.mix, settings.num_classes, seed))
    return torch.cat([each for each, _ in mixed]), torch.cat([targets for _, targets in mixed])


@contextmanager
def _norms_at_rest(model: nn.Module, batch: ClipBatch, rows: slice, settings: ClassifierSettings) -> Iterator[None]:
    """Batch norms use the statistics that they have while what is fed is no batch: nothing, or one clip of several.

    The others of its part could not be read. Parts of one clip by the recipe are fed as they are.
    """
    clips = len(batch.ids[rows])
    is_rest = clips == 0 or (clips == 1 and settings.share > settings.recipe.accumulate)
    norms = [each for each in model.modules() if isinstance(each, _BatchNorm) and each.training] if is_rest else []
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def _pairs(positions: Sequence[int]) -> list[slice]:
    """The rows that are mixed with each other: two, or one whose partner could not be read or is not there."""
    starts = [row for row, position in enumerate(positions) if not row or position // 2 != positions[row - 1] // 2]
    return [slice(start, end) for start, end in itertools.pairwise([*starts, len(positions)])]


def _parts(positions: Sequence[int], count: int) -> list[slice]:
    """Up to `count` consecutive parts of the rows, as equal as whole pairs can be; an empty one if there is no row."""
    pairs = _pairs(positions)
    edges = [*(pair.start for pair in pairs), len(positions)]
    bounds = [edges[len(pairs) * number // count] for number in range(count + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(bounds) if end > start] or [slice(0, 0)]


@contextmanager
def fitting(settings: ClassifierSettings) -> Iterator[None]:
    """What this machine or its processes cannot train, as one sentence.

    Raises:
        UserError: a GPU does not hold a micro-batch, batch norms see one clip at a time, or several processes wait
            for gradients that never come.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        recipe = settings.recipe
        clips = math.ceil(settings.share / recipe.accumulate)
        raise UserError(
            f"{settings.rank.device} has not enough memory to train on {clips} clips at once: raise --accumulate"
            f" (now {recipe.accumulate}), which leaves the batch of {recipe.batch_size} as it is"
        ) from error
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):  # a batch norm's
            raise
        recipe = settings.recipe
        raise UserError(
            f"this backbone has batch norms, which need several clips at once, and a batch of {recipe.batch_size} in"
            f" {settings.rank.world_size} processes x {recipe.accumulate} micro-batches feeds it one: raise"
            " --total-batch or lower --accumulate"
        ) from error
    except RuntimeError as error:
        if "Expected to have finished reduction" not in str(error):  # DistributedDataParallel's, of its second step
            raise
        raise UserError(
            f"{settings.rank.world_size} processes cannot train this backbone: some of its parameters have no part in"
            " its output, so no gradient; take them out of the network, or train it with one process"
        ) from error
