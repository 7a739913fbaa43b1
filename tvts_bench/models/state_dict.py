"""Networks from a seed or from a file's tensors: by the network's names, completely or not at all."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tvts_bench.models.unpickling import CheckpointError

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile put before every name."""
Network = TypeVar("Network", bound=nn.Module)
LISTED = 8  # names shown in an error before "and n more"
QUANTISED = (torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4)
UNQUANTISED = "the scales of quantised weights are not known here: get the weights in float32, float16 or bfloat16"


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Which tensors of a file went where. Loading is strict: whatever is not listed here was refused."""

    format: str  # "official TVTS training checkpoint", "tvts-bench safetensors", "state dict", ...
    used: int  # tensors loaded: all that the network has
    missing: tuple[str, ...] = ()  # names the network has and the file has not; always empty when loading is strict
    unexpected: tuple[str, ...] = ()  # names the file has beside the network: known other parts, left unused

    def unused_parts(self) -> dict[str, int]:
        """Tensors left unused, counted by the part they belong to: {"text_model": 100, "optimizer": 2}."""
        counts: dict[str, int] = {}
        for name in self.unexpected:
            part = name.split(".", 1)[0]
            counts[part] = counts.get(part, 0) + 1
        return counts


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """What `build` makes on the CPU when torch's random numbers start from `seed`, in evaluation mode.

    The global random state is as it was before, whatever `build` draws; other devices' states are not touched.
    """
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        return build().eval()


def build_for(build: Callable[[], Network], tensors: Mapping[str, Tensor], source: Path) -> Network:
    """What `build` makes on the CPU for `tensors` of the file `source`, which are loaded right after.

    Nothing is drawn that they replace. Tensors that no file holds (tables that a network computes for itself) are as
    `build` makes them.

    Args:
        build: makes the network.
        tensors: all that it has, by its names.
        source: for messages.

    Raises:
        CheckpointError: they do not fit; raised before memory is taken, of which an odd file may ask for any.
    """
    with torch.device("meta"):
        try:
            network = build()
        except RuntimeError as error:  # more bytes than can be counted
            raise CheckpointError(f"{source} tells of a network that no memory holds ({error})") from error
    refuse_misfit(network, tensors, source)
    if {name for name, _ in network.named_buffers()} - network.state_dict().keys():
        return seeded(build, 0)
    return network.to_empty(device="cpu").eval()


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    *,
    format: str = "state dict",
    unused: Sequence[str] = (),
) -> LoadReport:
    """Copy `tensors` into `module`, all of them or none; half-precision tensors are cast to the module's dtype.

    Args:
        module: what is to hold the weights; unchanged when this raises.
        tensors: by the module's own names.
        source: the file, for messages.
        format: what kind of file it was, for the report.
        unused: names of the file that are known and wanted nowhere; reported as `unexpected`.

    Raises:
        CheckpointError: names are missing or unknown, a shape differs, or a value is not a finite number.
    """
    refuse_misfit(module, tensors, source)
    expected = module.state_dict()
    refuse_values(tensors, expected, source)
    module.load_state_dict(dict(tensors), strict=True)
    return LoadReport(format=format, used=len(expected), unexpected=tuple(unused))


def refuse_misfit(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Nothing where `tensors` are called and shaped as those of `module`.

    Args:
        module: may be on the meta device.
        tensors: by its names.
        source: the file, for messages.

    Raises:
        CheckpointError: names are missing or unknown, or a shape differs.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    wrong = [
        f"{name} is {list(tensors[name].shape)}, expected {list(wanted.shape)}"
        for name, wanted in expected.items()
        if name in tensors and tensors[name].shape != wanted.shape
    ]
    unknown = [name for name in tensors if name not in expected]
    if problems := misfits(missing, unknown, wrong, f" of {len(expected)} tensors"):
        raise CheckpointError(f"{source} does not fit the network: {problems}")


def misfits(missing: Sequence[str], unknown: Sequence[str], wrong: Sequence[str], of: str = "") -> str:
    """A clause on what does not fit, "" where all does: "missing 2 of 9 tensors (a, b); unknown 1 (c)".

    Args:
        missing: names that the network has and the file has not.
        unknown: names of the file that are wanted nowhere.
        wrong: those of another shape, perhaps with both shapes.
        of: said behind the number of missing ones.
    """
    parts = (("missing", missing, of), ("unknown", unknown, ""), ("of another shape", wrong, ""))
    return "; ".join(f"{what} {len(names)}{whole} ({listed(names)})" for what, names, whole in parts if names)


def refuse_values(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: Path | str) -> None:
    """Nothing where the values of `tensors` can take the place of those of `wanted`.

    Args:
        tensors: of a file.
        wanted: of a network, by the same names.
        source: the file, for messages.

    Raises:
        CheckpointError: some are no finite floating-point numbers.
    """
    problems: dict[str, list[str]] = {}
    for name, expected in wanted.items():
        if problem := _problem(tensors[name], expected):
            problems.setdefault(problem, []).append(name)
    if problems:
        parts = "; ".join(f"{problem}: {listed(names)}" for problem, names in problems.items())
        way_out = f"; {UNQUANTISED}" if any("quantised" in problem for problem in problems) else ""
        raise CheckpointError(f"{source} has weights that {parts}{way_out}")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def without_prefixes(tensors: Mapping[str, Tensor], prefixes: Sequence[str] = WRAPPERS) -> dict[str, Tensor]:
    """`tensors` with each of `prefixes` taken off again and again, as long as every name has it."""
    least, most = min(tensors, default=""), max(tensors, default="")  # what these two begin with, all begin with
    start = 0
    while prefix := next((p for p in prefixes if least.startswith(p, start) and most.startswith(p, start)), None):
        start += len(prefix)
    return {name[start:]: tensor for name, tensor in tensors.items()}


def renamed(tensors: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """`tensors` by the names that `rename` gives them.

    Of two that would be called the same the second gets a name that no network has, so that strict loading refuses it:
    else one would be lost without a word.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = rename(name)
        result[f"{name} (another {new})" if new in result else new] = tensor
    return result


def fused(tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """`tensors` with those as one whose names differ in `parts` alone; where not all are there, of one shape, as it is.

    Args:
        tensors: by name.
        parts: of names, in the order in which the tensors are joined.
        whole: takes their place in the name of the joined one.
    """
    result = dict(tensors)
    for name in filter(lambda name: parts[0] in name, tensors):
        names = [name.replace(parts[0], part) for part in parts]
        pieces = [tensors[each] for each in names if each in tensors and tensors[each].ndim]
        if len(pieces) == len(parts) and len({piece.shape for piece in pieces}) == 1:
            result[name.replace(parts[0], whole)] = torch.cat(pieces)
            for each in names:
                del result[each]
    return result


def replaced(name: str, parts: tuple[tuple[str, str], ...]) -> str:
    """`name` with each old part replaced by its new one, in that order."""
    for old, new in parts:
        name = name.replace(old, new)
    return name


def substituted(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    """`name` with what each regular expression finds substituted, in that order."""
    for pattern, new in patterns:
        name = re.sub(pattern, new, name)
    return name


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
