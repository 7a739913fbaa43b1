"""Which device and which precision torch computes with here."""

import errno
import functools
import os
import re
from pathlib import Path
from typing import Literal, cast

import torch

from tvts_bench.errors import UserError


def resolve_device(name: str) -> str:
    """The torch device that `name` ("auto", "cpu", "cuda", "cuda:1", "mps") means here.

    "auto" is the GPU that CUDA (or ROCm) offers, else the CPU; MPS has to be named.

    Raises:
        UserError: no such kind of device, or this machine has none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name) is None:
        raise UserError(f"unknown device {name!r}; there are: auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda is not None or torch.version.hip is not None
        why = "finds no GPU" if built else "is built without CUDA"
        raise UserError(f"device {name!r} was asked for, but PyTorch {torch.__version__} {why}: use --device cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} was asked for, but there are {torch.cuda.device_count()} GPUs, from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' was asked for, but this machine has no Metal GPU: use --device cpu")
    return name


def resolve_dtype(name: str, device: str) -> Literal["fp32", "bf16"]:
    """The precision that `name` ("auto", "fp32", "bf16") means on a resolved device.

    "auto" is bf16 where the hardware computes in it, so not where it would be emulated.

    Raises:
        UserError: no such precision, or none of that name on this device.
    """
    if name not in ("auto", "fp32", "bf16"):
        raise UserError(f"unknown dtype {name!r}; there are: auto, fp32, bf16")
    kind = device.partition(":")[0]
    if name == "bf16" and kind == "mps":
        raise UserError("dtype 'bf16' is not supported on device 'mps': use --dtype fp32")
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
