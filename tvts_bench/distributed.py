"""Several processes under torchrun: who this one is, and what they tell each other.

Lightning Fabric 2.6 and accelerate 1.15 were read for this and not taken. Of Fabric, `all_reduce`, `all_gather` and
`setup_module` would replace about 50 of these lines, and its launcher and precision plugins bring conditions of their
own: `bf16-mixed` casts a module's inputs to bf16 before autocast sees them, which is another forward pass than that of
the golden losses. Accelerate divides every loss by the number of micro-batches, which is not the gradient of a
contrastive loss over the whole batch. What is left has no counterpart in either: errors of users that cross from one
rank to all, objects over gloo beside NCCL, buffers of the first rank, and a training without any generator's state. A
dependency of 17,000 lines would save less than its set-up costs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tvts_bench.devices import resolve_device
from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime, silent

TORCHRUN_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STEP_WAIT = timedelta(minutes=30)  # for a rank that reads, checks or validates while the others wait to take a step
DECODING_WAIT = timedelta(days=7)  # one rank may have that much more to decode than another
T = TypeVar("T")


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


def under_torchrun() -> bool:
    """Whether torchrun (or something that sets the same variables) started this process as one of several."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def init_distributed(device: str, *, nccl: bool = True, timeout: timedelta = STEP_WAIT) -> Iterator[Rank]:
    """This process's rank, within a process group under torchrun, and alone without it.

    Args:
        device: as `resolve_device` takes it; "cuda" is this rank's own GPU.
        nccl: whether tensors on GPUs are exchanged, too; else the ranks meet over gloo whatever the device.
        timeout: how long a rank waits for the others.

    Yields:
        The rank, its world size and its resolved device.

    Raises:
        UserError: no such device, or a node has more ranks than GPUs.
    """
    resolved = resolve_device(device)
    if not under_torchrun():
        yield Rank(device=resolved)
        return
    if resolved == "cuda":
        resolved = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(resolved)
    backend = "cpu:gloo,cuda:nccl" if nccl and resolved.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=timeout)
    try:
        yield Rank(rank=distributed.get_rank(), world_size=distributed.get_world_size(), device=resolved)
    finally:
        distributed.destroy_process_group()


@contextmanager
def distributed_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """`runtime` as this rank's: its rank, its GPU, progress shown by rank 0 only. Unchanged without torchrun.

    Raises:
        UserError: a node has more ranks than GPUs.
    """
    if not under_torchrun():
        yield runtime
        return
    with init_distributed(runtime.device, nccl=False, timeout=DECODING_WAIT) as rank:
        progress = runtime.progress if rank.is_first else silent
        yield replace(runtime, device=rank.device, rank=rank.rank, world_size=rank.world_size, progress=progress)


def broadcast_from_rank0(runtime: Runtime, compute: Callable[[], T]) -> T:
    """What `compute` returns on rank 0, on every rank; it runs on no other. All ranks must call this.

    Raises:
        UserError: what `compute` raised, on every rank.
    """
    if runtime.world_size == 1:
        return compute()
    message = [run_on_all_ranks(runtime, compute if runtime.rank == 0 else lambda: None)]
    distributed.broadcast_object_list(message, src=0)
    return cast(T, message[0])


def run_on_all_ranks(runtime: Runtime, compute: Callable[[], T]) -> T:
    """Run `compute` on every rank and wait for all: if it fails on one, it fails on all. All ranks must call this.

    Raises:
        UserError: what `compute` raised here, or the message of the first rank where it did.
    """
    if runtime.world_size == 1:
        return compute()
    failed: UserError | None = None
    result: Any = None
    try:
        result = compute()
    except UserError as error:
        failed = error
    messages = all_gather_objects(None if failed is None else str(failed), runtime.world_size)
    if failed is not None:
        raise failed
    for rank, text in enumerate(messages):
        if text is not None:
            raise UserError(f"rank {rank}: {text}")
    return cast(T, result)


def barrier(rank: Rank) -> None:
    """Wait for all ranks. All ranks must call this."""
    if rank.world_size > 1:
        distributed.barrier()


def all_reduce_mean(values: Tensor, rank: Rank) -> Tensor:
    """The mean of `values`, on the CPU, over all ranks; the same on each. All ranks must call this."""
    return values if rank.world_size == 1 else all_reduce_sum(values) / rank.world_size


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum of `value` over all ranks, without gradient. All ranks must call this."""
    total = value.detach().clone()
    if rank_and_size()[1] > 1:
        distributed.all_reduce(total)
    return total


def all_reduce_max(value: int, rank: Rank) -> int:
    """The largest `value` of any rank. All ranks must call this."""
    if rank.world_size == 1:
        return value
    largest = torch.tensor(value)
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return int(largest)


def all_gather_objects(value: T, world_size: int) -> list[T]:
    """Every rank's `value`, in the order of the ranks, on each of them. All ranks must call this."""
    if world_size == 1:
        return [value]
    values = [value] * world_size
    distributed.all_gather_object(values, value)
    return values


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) where no process group is up."""
    is_up = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if is_up else (0, 1)


def all_gather_rows(rows: Tensor) -> Tensor:
    """Rows [N * B, ...] of all N ranks, in rank order, of this rank's [B, ...]; B must be the same on every rank.

    The gradient that reaches a rank's rows is the sum of what every rank's loss sends to them: DistributedDataParallel
    averages gradients, so with a loss whose mean over the ranks is that of the global batch, N processes of batch B
    take exactly the step of one process of batch N * B. (The official code keeps only the rank's own share, so that
    its contrastive gradient is 1 / N of the true one.)
    """
    return rows if rank_and_size()[1] == 1 else _GatherRows.apply(rows)


class _GatherRows(torch.autograd.Function):
    """All-gather forward; backward sums the gradients of all ranks and keeps this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        rank, size = rank_and_size()
        return all_reduce_sum(grad.contiguous()).chunk(size)[rank]


def broadcast_buffers(model: nn.Module, rank: Rank) -> None:
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


def wrap_ddp(model: nn.Module, rank: Rank) -> nn.Module:
    """`model`, on the rank's device, with its gradients averaged over all ranks. All ranks must call this."""
    if rank.world_size == 1:
        return model
    if not rank.device.startswith("cuda"):
        return DistributedDataParallel(model)
    nccl = distributed.new_group(backend="nccl")  # between GPUs, whatever else the processes talk over
    return DistributedDataParallel(model, device_ids=[rank.device], process_group=nccl)


def sync_on_last(model: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """DistributedDataParallel averages the gradients of a step once, in the backward pass of its last micro-batch."""
    waits = isinstance(model, DistributedDataParallel) and not is_last
    return model.no_sync() if waits else nullcontext()  # type: ignore[operator]
