"""Stochastic depth whose draws belong to a clip: the same whatever batch, micro-batch or process the clip is in."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm

from timm.layers import DropPath  # type: ignore[attr-defined] # isort: skip


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
