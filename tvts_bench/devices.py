"""The torch side of the runtime: which device, which precision, and one process of many under torchrun."""

import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
from torch import distributed

from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime, silent

LONGEST_WAIT = timedelta(days=7)  # between ranks: one may have that much more to decode than another
TORCHRUN_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
Result = TypeVar("Result")


class DeviceError(UserError):
    """A device or precision that this machine or this PyTorch does not have, or a failure on another rank."""


def resolve_device(name: str) -> str:
    """The torch device that `name` ("auto", "cpu", "cuda", "cuda:1", "mps") means here.

    "auto" is the GPU that CUDA (or ROCm) offers, else the CPU; MPS has to be asked for.

    Raises:
        DeviceError: no such kind of device, or this machine has none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name) is None:
        raise DeviceError(f"unknown device {name!r}; there are: auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda is not None or torch.version.hip is not None
        why = "finds no GPU" if built else "is built without CUDA"
        raise DeviceError(f"device {name!r} was asked for, but PyTorch {torch.__version__} {why}: use --device cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r} was asked for, but there are {torch.cuda.device_count()} GPUs, from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' was asked for, but this machine has no Metal GPU: use --device cpu")
    return name


def resolve_dtype(name: str, device: str) -> Literal["fp32", "bf16"]:
    """The precision that `name` ("auto", "fp32", "bf16") means on a resolved device.

    "auto" is bf16 where the hardware computes in it, so not where it would be emulated.

    Raises:
        DeviceError: no such precision, or none of that name on this device.
    """
    if name not in ("auto", "fp32", "bf16"):
        raise DeviceError(f"unknown dtype {name!r}; there are: auto, fp32, bf16")
    kind = device.partition(":")[0]
    if name == "bf16" and kind == "mps":
        raise DeviceError("dtype 'bf16' is not supported on device 'mps': use --dtype fp32")
    if name != "auto":
        return cast(Literal["fp32", "bf16"], name)
    native = _cpu_has_bf16() if kind == "cpu" else kind == "cuda" and torch.cuda.is_bf16_supported(False)
    return "bf16" if native else "fp32"


@functools.cache
def _cpu_has_bf16() -> bool:
    """x86's AVX512-BF16 or AMX, ARM's BF16 extension, as Linux reports them; other systems do not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    wanted = {"flags": {"avx512_bf16", "amx_bf16"}, "Features": {"bf16"}}  # x86 and ARM name the line differently
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in wanted:
            return not wanted[name.strip()].isdisjoint(flags.split())
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this machine has not enough memory; torch says so of CPU and MPS in words only."""
    words = ("out of memory", "can't allocate memory", os.strerror(errno.ENOMEM))
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(each in str(error) for each in words)
    )


def under_torchrun() -> bool:
    """Whether torchrun (or something that sets the same variables) started this process as one of several."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def distributed_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """`runtime` as this rank's: its rank, its GPU, progress shown by rank 0 only. Unchanged without torchrun.

    The ranks meet over gloo whatever the device: only small messages pass between them.

    Raises:
        DeviceError: a node has more ranks than GPUs.
    """
    if not under_torchrun():
        yield runtime
        return
    rank, local_rank, world_size = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    device = runtime.device
    if device == "cuda":
        device = resolve_device(f"cuda:{local_rank}")
        torch.cuda.set_device(device)
    distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        progress = runtime.progress if rank == 0 else silent
        yield replace(runtime, device=device, rank=rank, world_size=world_size, progress=progress)
    finally:
        distributed.destroy_process_group()


def from_rank_zero(runtime: Runtime, compute: Callable[[], Result]) -> Result:
    """What `compute` returns on rank 0, on every rank; it runs on no other. All ranks must call this.

    Raises:
        UserError: what `compute` raised, on every rank.
    """
    if runtime.world_size == 1:
        return compute()
    message: list[Any] = [None, None]
    failed: UserError | None = None
    if runtime.rank == 0:
        try:
            message[0] = compute()
        except UserError as error:
            failed, message[1] = error, str(error)
    distributed.broadcast_object_list(message, src=0)
    if failed is not None:
        raise failed
    if message[1] is not None:
        raise DeviceError(message[1])
    return cast(Result, message[0])


def together(runtime: Runtime, compute: Callable[[], Result]) -> Result:
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
    messages: list[str | None] = [None] * runtime.world_size
    distributed.all_gather_object(messages, None if failed is None else str(failed))
    if failed is not None:
        raise failed
    for rank, text in enumerate(messages):
        if text is not None:
            raise DeviceError(f"rank {rank}: {text}")
    return cast(Result, result)
