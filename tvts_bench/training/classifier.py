"""A backbone with a linear head: what probes and fine-tuning train.

Its stochastic depth draws from a clip's own seed: the same whatever batch, micro-batch or process the clip is in.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone, as_embedding
from tvts_bench.errors import UserError

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
