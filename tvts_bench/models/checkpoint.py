"""Weights from files: read safely (nothing in a file runs), loaded completely or not at all."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tvts_bench.models.sharded import INDEX, indexed
from tvts_bench.models.unpickling import PICKLE_MAGIC, ZIP_MAGIC, load_pickled
from tvts_bench.models.unpickling import CheckpointError as CheckpointError
from tvts_bench.provenance import digest, file_sha256

logger = logging.getLogger(__name__)

CONTAINER_KEYS = (
    *("state_dict", "model_state", "module", "model"),
    *("teacher", "target_encoder", "ema_encoder", "encoder"),  # averaged networks before those they average
)
"""Where training code keeps the weights among the other things it saves; the first that is there is taken."""
FOLDER_WEIGHTS, FOLDER_CONFIG = ("model.safetensors", INDEX, "pytorch_model.bin"), "config.json"
"""What a folder of the Hub's libraries holds; the first of the weights that is there is read."""
OWN_METADATA = "tvts_bench.architecture"
"""The safetensors metadata entry (JSON) that marks a file as ours."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile put before every name."""
LISTED = 8  # names shown in an error before "and n more"


class CheckpointMismatchError(CheckpointError):
    """Weights that do not fit the network they were meant for."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """What a file holds. Tensors are on the CPU, under the file's own names, and may be mapped from the file."""

    path: Path
    sha256: str  # of the whole file; of a folder, a digest of `files`
    format: str  # "training checkpoint", "state dict", "TorchScript archive", "safetensors", "tvts-bench safetensors"
    tensors: dict[str, Tensor]
    container: str | None = None  # key of the file under which the tensors were; None where they lay bare
    beside: tuple[str, ...] = ()  # other keys that hold tensors, which are left alone: a student beside its teacher
    metadata: dict[str, Any] = field(default_factory=dict)  # plain values beside the tensors: arch, epoch, ...
    stubbed: tuple[str, ...] = ()  # what the file names that torch does not know: replaced by inert stand-ins
    config: Mapping[str, Any] | None = None  # the folder's config.json, which names the architecture
    origin: str | None = None  # what results call it where the file's name does not say enough
    files: Mapping[str, str] = field(default_factory=dict)  # of a folder: sha256 of each file that was read


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights, or a folder of weights and config.json, without running anything in it.

    Knows `torch.save` files (a state dict, or one inside a training checkpoint; also the layout before torch 1.6),
    TorchScript archives, of which the program is not run, and safetensors.

    Raises:
        CheckpointError: missing, not a file of weights, damaged, or hostile; the message says which.
    """
    if path.is_dir():
        return _read_folder(path)
    kind = _kind_of(path)
    sha256 = file_sha256(path)
    if kind == "safetensors":
        tensors, metadata = _read_safetensors(path)
        format_ = "tvts-bench safetensors" if OWN_METADATA in metadata else "safetensors"
        return Checkpoint(path=path, sha256=sha256, format=format_, tensors=tensors, metadata=metadata)
    loaded, stubbed, scripted = load_pickled(path)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a dictionary of tensors")
    holders = [key for key, value in loaded.items() if isinstance(value, Mapping) and _holds_tensors(value)]
    container = next((key for key in CONTAINER_KEYS if key in holders), None)
    tensors = _named_tensors(path, loaded if container is None else loaded[container])
    _refuse_more_than_is_there(path, tensors)
    metadata = {str(key): value for key, value in loaded.items() if isinstance(value, str | int | float)}
    format_ = "state dict" if container is None else "training checkpoint"
    if scripted:
        format_, stubbed = "TorchScript archive", tuple(name for name in stubbed if not name.startswith("__torch__"))
    if stubbed:
        logger.info("%s: replaced by inert stand-ins: %s", path, ", ".join(stubbed))
    return Checkpoint(
        path=path,
        sha256=sha256,
        format=format_,
        tensors=tensors,
        container=container,
        beside=tuple(str(key) for key in holders if key != container),
        metadata=metadata,
        stubbed=stubbed,
    )


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
        CheckpointMismatchError: names are missing or unknown, a shape differs, or a value is not a finite number.
    """
    refuse_misfit(module, tensors, source)
    expected = module.state_dict()
    odd = [name for name, wanted in expected.items() if not _is_plain_and_finite(tensors[name], wanted)]
    if odd:
        raise CheckpointMismatchError(f"{source} has weights that are not finite numbers: {listed(odd)}")
    module.load_state_dict(dict(tensors), strict=True)
    return LoadReport(format=format, used=len(expected), unexpected=tuple(unused))


def refuse_misfit(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Nothing where `tensors` are called and shaped as those of `module`, which may be on the meta device.

    Raises:
        CheckpointMismatchError: names are missing or unknown, or a shape differs.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    problems = []
    if missing:
        problems.append(f"missing {len(missing)} of {len(expected)} tensors ({listed(missing)})")
    if unknown:
        problems.append(f"unknown {len(unknown)} ({listed(unknown)})")
    wrong = [
        f"{name} is {list(tensors[name].shape)}, expected {list(wanted.shape)}"
        for name, wanted in expected.items()
        if name in tensors and tensors[name].shape != wanted.shape
    ]
    if wrong:
        problems.append(f"of another shape {len(wrong)} ({listed(wrong)})")
    if problems:
        raise CheckpointMismatchError(f"{source} does not fit the network: {'; '.join(problems)}")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def without_prefixes(tensors: Mapping[str, Tensor], prefixes: Sequence[str] = WRAPPERS) -> dict[str, Tensor]:
    """`tensors` with each of `prefixes` taken off again and again, as long as every name has it."""
    stripped = dict(tensors)
    while prefix := next((p for p in prefixes if stripped and all(name.startswith(p) for name in stripped)), None):
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
    return stripped


def _kind_of(path: Path) -> str:
    """Which reader the file's first bytes ask for, "pickled" or "safetensors"; or the refusal that fits them."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no regular file, not a checkpoint")
    try:
        with path.open("rb") as file:
            head = file.read(64)
        size = path.stat().st_size
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from None
    # First, because it starts with a length, and one in 32 lengths starts with a pickle's first byte.
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return "pickled"
    if not head:
        what = "is empty"
    elif head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        what = "is a web page: the download failed, or asked for a confirmation"
    elif path.name == INDEX:
        what = "is the index of several files: name the folder that holds them"
    elif head.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer: fetch the file itself with git lfs pull"
    else:
        what = f"is not a checkpoint (it starts with {head[:16]!r})"
    raise CheckpointError(f"{path} {what}; known are torch.save files and safetensors")


def _read_folder(folder: Path) -> Checkpoint:
    """The weights in a folder as the Hub's libraries save it, and its config.json."""
    weights = next((folder / name for name in FOLDER_WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        raise CheckpointError(
            f"{folder} is a folder with neither {' nor '.join(FOLDER_WEIGHTS)}: name the file of weights in it"
        )
    checkpoint = _read_shards(weights) if weights.name == INDEX else read_checkpoint(weights)
    origin = f"{folder.resolve().name}/{weights.name}"
    files = dict(checkpoint.files) or {weights.name: checkpoint.sha256}
    described = folder / FOLDER_CONFIG
    if not described.exists():
        return replace(checkpoint, origin=origin)
    try:
        config = json.loads(described.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{described} cannot be read ({error}): fetch the folder anew") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{described} holds a {type(config).__name__}, expected an object: fetch the folder anew")
    files[FOLDER_CONFIG] = file_sha256(described)
    return replace(checkpoint, config=config, origin=origin, files=files, sha256=digest(files))


def _read_shards(index: Path) -> Checkpoint:
    """The tensors of all files that an index names; `files` has each of them, and the index."""
    places = indexed(index)
    shards = {name: read_checkpoint(index.with_name(name)) for name in places}
    odd = [name for name, shard in shards.items() if shard.tensors.keys() != places[name]]
    if odd:
        raise CheckpointError(f"{index} names other tensors than are in {listed(odd)}: fetch the folder anew")
    files = {index.name: file_sha256(index)} | {name: shard.sha256 for name, shard in shards.items()}
    tensors = {name: tensor for shard in shards.values() for name, tensor in shard.tensors.items()}
    format_ = f"safetensors, {len(shards)} files"
    return Checkpoint(path=index, sha256=digest(files), format=format_, tensors=tensors, files=files)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file ({error})") from error


def _holds_tensors(found: Mapping[object, object]) -> bool:
    return any(isinstance(value, Tensor) for value in found.values())


def _named_tensors(path: Path, found: Mapping[object, object]) -> dict[str, Tensor]:
    """The tensors of a dictionary, which must have names; other values are left out."""
    tensors = {key: value.detach() for key, value in found.items() if isinstance(value, Tensor)}
    nameless = [key for key in tensors if not isinstance(key, str)]
    if nameless:
        raise CheckpointError(f"{path} is not a state dict: it has a tensor under {nameless[0]!r}, which is no name")
    if not tensors:
        names = listed([str(key) for key in found]) or "nothing"
        raise CheckpointError(f"{path} holds no tensors where weights are expected; it has: {names}")
    return {str(key): value for key, value in tensors.items()}


def _refuse_more_than_is_there(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Nothing where the file is as large as each of its tensors; strides can make any size of a single number."""
    size = path.stat().st_size
    larger = [name for name, tensor in tensors.items() if tensor.numel() * tensor.element_size() > size]
    if larger:
        raise CheckpointError(f"{path} has tensors that are larger than the whole file: {listed(larger)}")


def _is_plain_and_finite(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether `tensor` is dense, free of NaN and infinity, and floating-point, unless `wanted` is a counter itself."""
    floating = tensor.is_floating_point() or not wanted.is_floating_point()
    quantised = tensor.is_floating_point() and tensor.element_size() == 1  # float8: its scales are elsewhere
    plain = tensor.layout == torch.strided and floating and not tensor.is_meta and not quantised
    return plain and bool(torch.isfinite(tensor).all())
