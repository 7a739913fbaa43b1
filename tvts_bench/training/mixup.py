"""Mixup and CutMix of clips, with soft labels: timm's, which is made for images.

timm cuts dimensions 2 and 3 of what it is given. On clips [B, 3, T, H, W] those are time and height, and since its box
is drawn for height and width, most boxes begin behind the last frame: no pixel changes while the labels are mixed. Here
it is given [B, 3 * T, H, W], so that a box is the same in every frame and its share of the pixels is that of the label.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.training.recipe import MixConfig

from timm.data.mixup import Mixup, mixup_target  # isort: skip


def mix(clips: Tensor, labels: Tensor, config: MixConfig, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The batch mixed with itself in reverse order, by one draw from `seed`.

    Args:
        clips: float [B, 3, T, H, W], normalised; overwritten.
        labels: int64 [B].
        config: what is mixed, and how often.
        num_classes: C.
        seed: 0 to 2**64 - 1; equal seeds draw equal shares and boxes, whatever the batch.

    Returns:
        Clips [B, 3, T, H, W] and targets [B, C], float32, each of which sums to 1. In a batch of odd size the middle
        clip stays as it is.
    """
    assert clips.is_floating_point(), f"mixing needs normalised clips, got {clips.dtype}"
    assert clips.ndim == 5, f"expected [B, 3, T, H, W], got {tuple(clips.shape)}"
    if not config.mixes or len(clips) == 0:
        return clips, mixup_target(labels, num_classes, 1.0, config.smoothing)
    mixup = Mixup(
        mixup_alpha=config.mixup,
        cutmix_alpha=config.cutmix,
        prob=config.prob,
        switch_prob=config.switch_prob,
        label_smoothing=config.smoothing,
        num_classes=num_classes,
    )
    frames, middle = clips.shape[2], len(clips) // 2
    mixed = clips.flatten(1, 2) if config.cutmix_axes == "space" else clips  # [B, 3 * T, H, W]
    is_odd = len(clips) % 2 == 1  # timm wants an even number: the middle clip twice is mixed with itself
    if is_odd:
        rows = torch.arange(len(clips) + 1, device=clips.device)
        rows -= (rows > middle).long()
        mixed, labels = mixed[rows], labels[rows]
    with _numpy_seeded(seed):
        mixed, targets = mixup(mixed, labels)
    if is_odd:
        rows = torch.arange(len(clips), device=clips.device)
        rows += (rows > middle).long()
        mixed, targets = mixed[rows], targets[rows]
    return (mixed.unflatten(1, (3, frames)) if config.cutmix_axes == "space" else mixed), targets


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """The global generator of numpy, which timm draws from, started from `seed` and put back afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
