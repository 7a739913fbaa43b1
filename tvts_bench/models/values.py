"""Whether the numbers in a file's tensors are weights that can be loaded as they are; else, what they are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

QUANTISED = (torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4)
UNQUANTISED = "the scales of quantised weights are not known here: get the weights in float32, float16 or bfloat16"


def problems_of(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names of the tensors that cannot be loaded, by what is wrong with them.

    Args:
        tensors: of a file.
        wanted: of the network, by the same names; counters in it may be integers.
    """
    problems: dict[str, list[str]] = {}
    for name, expected in wanted.items():
        if problem := _problem(tensors[name], expected):
            problems.setdefault(problem, []).append(name)
    return problems


def described_problems(source: Path | str, problems: Mapping[str, list[str]], limit: int) -> str:
    """One sentence on `problems`, with the first `limit` names of each."""
    parts = []
    for problem, names in problems.items():
        more = f", and {len(names) - limit} more" if len(names) > limit else ""
        parts.append(f"{problem}: {', '.join(names[:limit])}{more}")
    way_out = f"; {UNQUANTISED}" if any("quantised" in problem for problem in problems) else ""
    return f"{source} has weights that {'; '.join(parts)}{way_out}"


def _problem(tensor: Tensor, wanted: Tensor) -> str | None:
    """What keeps `tensor` from being loaded in the place of `wanted`."""
    if tensor.is_meta:
        return "are described without their values"
    if tensor.dtype in QUANTISED or (tensor.is_floating_point() and tensor.element_size() == 1):
        return f"are quantised ({_dtype(tensor)})"
    if tensor.layout != torch.strided:
        return f"are not dense ({str(tensor.layout).removeprefix('torch.')}): have them saved with .to_dense()"
    if wanted.is_floating_point() and not tensor.is_floating_point():
        what = "are complex numbers" if tensor.is_complex() else "are integers, as quantised weights are"
        return f"{what} ({_dtype(tensor)})"
    if not bool(torch.isfinite(tensor).all()):
        return "are not finite numbers"
    return None


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
