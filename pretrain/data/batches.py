"""The one batch type of pretraining: what the data package makes and the model eats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class NarratedBatch:
    """B clips with the words said during them, in true temporal order.

    A narrated clip has K transcript segments. A caption has one: row 0 holds its tokens, and rows 1..K-1 are padding
    whose mask is all zero. `segments` tells them apart, and only samples with `segments == K` can be sorted.

    Attributes:
        clips: uint8 `[B, 3, T, H, W]`, RGB in 0..255; normalised on the device.
        input_ids: int64 `[B, K, L]`, tokens of the segments.
        attention_mask: int64 `[B, K, L]`, 1 on tokens and 0 on padding.
        segments: int64 `[B]`, the number of real segments of each sample, 1..K.
        ids: Name of each sample, for logs.
        seeds: int64 `[B]`, a number of each sample for choices made later (masks): the same for the same seed and step
            whatever the number of processes. None where a batch was not drawn.
    """

    clips: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    segments: Tensor
    ids: tuple[str, ...]
    seeds: Tensor | None = None

    def __post_init__(self) -> None:
        size, shape = len(self.ids), tuple(self.clips.shape)
        assert len(shape) == 5, shape
        assert shape[:2] == (size, 3), shape
        assert self.clips.dtype == torch.uint8, self.clips.dtype
        assert self.input_ids.ndim == 3, tuple(self.input_ids.shape)
        assert self.input_ids.shape == self.attention_mask.shape
        assert self.input_ids.shape[0] == size
        assert self.segments.shape == (size,)

    def __len__(self) -> int:
        return len(self.ids)

    def _map(self, function: Callable[[Tensor], Tensor]) -> NarratedBatch:
        return NarratedBatch(
            clips=function(self.clips),
            input_ids=function(self.input_ids),
            attention_mask=function(self.attention_mask),
            segments=function(self.segments),
            ids=self.ids,
            seeds=None if self.seeds is None else function(self.seeds),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> NarratedBatch:
        """The same batch with every tensor on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> NarratedBatch:
        """The same batch in page-locked memory; the DataLoader calls this when asked to pin."""
        return self._map(lambda tensor: tensor.pin_memory())
