"""Batches that span processes: rows of all ranks with their full gradient, and counts over all ranks.

With these, N processes of batch B take exactly the step that one process of batch N * B takes: DistributedDataParallel
averages gradients, so a rank's loss only has to be such that the mean over the ranks is the loss of the global batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) where no process group is up."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def gather_rows(rows: Tensor) -> Tensor:
    """Rows [N * B, ...] of all N ranks, in rank order, of this rank's [B, ...]; B must be the same on every rank.

    The gradient that reaches a rank's rows is the sum of what every rank's loss sends to them. (The official code
    keeps only the rank's own share, so that its contrastive gradient is 1 / N of the true one.)
    """
    _, size = rank_and_size()
    return rows if size == 1 else _GatherRows.apply(rows)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of `value` over all ranks, without gradient."""
    total = value.detach().clone()
    if rank_and_size()[1] > 1:
        dist.all_reduce(total)
    return total


class _GatherRows(torch.autograd.Function):
    """All-gather forward; backward sums the gradients of all ranks and keeps this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
