"""One process of a training run: its rank, its device, and agreement between ranks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tvts_bench.devices import resolve_device, under_torchrun

T = TypeVar("T")

LONGEST_WAIT = timedelta(minutes=30)  # for a rank that reads, checks or validates while the others wait


@dataclass(frozen=True, kw_only=True)
class Rank:
    """This process among all of a run."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[Rank]:
    """This process's rank, with a process group (NCCL for tensors on GPUs, gloo on the CPU) under torchrun.

    Raises:
        DeviceError: no such device.
    """
    resolved = resolve_device(device)
    if not under_torchrun():
        yield Rank(device=resolved)
        return
    if resolved == "cuda":
        resolved = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(resolved)
    backend = "cpu:gloo,cuda:nccl" if resolved.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield Rank(rank=distributed.get_rank(), world_size=distributed.get_world_size(), device=resolved)
    finally:
        distributed.destroy_process_group()


def mean_over_ranks(values: Tensor, rank: Rank) -> Tensor:
    """The mean of `values`, on the CPU, over all ranks; the same on each. All ranks must call this."""
    if rank.world_size == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / rank.world_size


def largest(value: int, rank: Rank) -> int:
    """The largest `value` of any rank. All ranks must call this."""
    if rank.world_size == 1:
        return value
    found = torch.tensor(value)
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return int(found)


def of_all_ranks(value: T, world_size: int) -> list[T]:
    """Every rank's `value`, in the order of the ranks, on each of them. All ranks must call this."""
    if world_size == 1:
        return [value]
    values = [value] * world_size
    distributed.all_gather_object(values, value)
    return values


def share_buffers(model: nn.Module, rank: Rank) -> None:
    """Give every rank the first one's buffers. All ranks must call this.

    Running statistics of batch norms come from a rank's own clips; DistributedDataParallel makes them equal before a
    training step only, so that after one, every rank would measure another model.
    """
    if rank.world_size == 1:
        return
    message = [{name: buffer.cpu() for name, buffer in model.named_buffers()} if rank.is_first else None]
    distributed.broadcast_object_list(message, src=0)
    (of_first,) = message
    assert of_first is not None
    for name, buffer in model.named_buffers():
        buffer.copy_(of_first[name])


def in_parallel(model: nn.Module, rank: Rank) -> nn.Module:
    """`model`, on the rank's device, with its gradients averaged over all ranks. All ranks must call this."""
    if rank.world_size == 1:
        return model
    if not rank.device.startswith("cuda"):
        return DistributedDataParallel(model)
    nccl = distributed.new_group(backend="nccl")  # between GPUs, whatever else the processes talk over
    return DistributedDataParallel(model, device_ids=[rank.device], process_group=nccl)
