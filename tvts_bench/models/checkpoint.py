"""Weights from files: read safely (nothing in a file runs), loaded completely or not at all."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tvts_bench.models.containers import CONTAINER_KEYS as CONTAINER_KEYS
from tvts_bench.models.containers import choose, refuse_choice
from tvts_bench.models.foreign_config import read_json_object, without_fetching
from tvts_bench.models.pickle_names import MAX_TENSORS
from tvts_bench.models.sharded import INDEX, indexed
from tvts_bench.models.unpickling import PICKLE_MAGIC, ZIP_MAGIC, described, load_pickled, too_many_tensors
from tvts_bench.models.unpickling import CheckpointError as CheckpointError
from tvts_bench.models.values import described_problems, problems_of
from tvts_bench.provenance import digest, file_sha256

logger = logging.getLogger(__name__)

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
    part: str | None = None  # `container`, where another one than the usual was asked for; `sha256` depends on it
    notes: tuple[str, ...] = ()  # what every result should say of these weights

    @property
    def title(self) -> str:
        """What results call these weights: where they are from, and which of a file's they are."""
        return (self.origin or self.path.name) + (f" ({self.part})" if self.part else "")


def read_checkpoint(path: Path, weights: str | None = None) -> Checkpoint:
    """Read a file of weights, or a folder of weights and config.json, without running anything in it.

    Knows `torch.save` files (a state dict, or one inside a training checkpoint; also the layout before torch 1.6),
    TorchScript archives, of which the program is not run, and safetensors.

    Args:
        path: the file or folder.
        weights: which of a training checkpoint's: "ema", or the key that they are under; None for the usual ones.

    Raises:
        CheckpointError: missing, not a file of weights, damaged, or hostile; the message says which.
    """
    if path.is_dir():
        return _read_folder(path, weights)
    if _kind_of(path) == "pickled":
        return _read_pickled(path, weights)
    refuse_choice(path, weights)
    sha256 = file_sha256(path)
    tensors, metadata = _read_safetensors(path)
    format_ = "tvts-bench safetensors" if OWN_METADATA in metadata else "safetensors"
    return Checkpoint(path=path, sha256=sha256, format=format_, tensors=tensors, metadata=metadata)


def _read_pickled(path: Path, weights: str | None) -> Checkpoint:
    """A `torch.save` file or a TorchScript archive."""
    sha256 = file_sha256(path)
    loaded, stubbed, scripted = load_pickled(path)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{path} holds {described(loaded)}, not a dictionary of tensors: have its authors save the state_dict()"
        )
    chosen = choose(path, loaded, weights)
    tensors = _named_tensors(path, chosen.held)
    if len(tensors) > MAX_TENSORS:  # names of one tensor, say
        raise too_many_tensors(path)
    _refuse_more_than_is_there(path, tensors)
    metadata = {str(key): value for key, value in loaded.items() if isinstance(value, str | int | float)}
    format_ = "state dict" if chosen.container is None else "training checkpoint"
    if scripted:
        format_, stubbed = "TorchScript archive", tuple(name for name in stubbed if not name.startswith("__torch__"))
    if stubbed:
        logger.info("%s: replaced by inert stand-ins: %s", path, ", ".join(stubbed))
    return Checkpoint(
        path=path,
        sha256=sha256 if chosen.part is None else digest({"file": sha256, "weights": chosen.part}),
        format=format_,
        tensors=tensors,
        container=chosen.container,
        beside=chosen.beside,
        metadata=metadata,
        stubbed=stubbed,
        files={} if chosen.part is None else {path.name: sha256},
        part=chosen.part,
        notes=chosen.notes,
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
    refuse_values(tensors, expected, source)
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


def refuse_values(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: Path | str) -> None:
    """Nothing where the values of `tensors` can take the place of those of `wanted`, which has the same names.

    Raises:
        CheckpointMismatchError: some are no finite floating-point numbers.
    """
    if problems := problems_of(tensors, wanted):
        raise CheckpointMismatchError(described_problems(source, problems, LISTED))


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


def _read_folder(folder: Path, chosen: str | None) -> Checkpoint:
    """The weights in a folder as the Hub's libraries save it, and its config.json."""
    weights = next((folder / name for name in FOLDER_WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        raise CheckpointError(
            f"{folder} is a folder with neither {' nor '.join(FOLDER_WEIGHTS)}: name the file of weights in it"
        )
    if weights.name == INDEX:
        refuse_choice(folder, chosen)
        checkpoint = _read_shards(weights)
    else:
        checkpoint = read_checkpoint(weights, chosen)
    origin = f"{folder.resolve().name}/{weights.name}"
    files = dict(checkpoint.files) or {weights.name: checkpoint.sha256}
    described_in = folder / FOLDER_CONFIG
    if not described_in.exists():
        return replace(checkpoint, origin=origin)
    config = without_fetching(read_json_object(described_in), described_in)
    files[FOLDER_CONFIG] = file_sha256(described_in)
    sha256 = digest(files if checkpoint.part is None else {**files, "weights": checkpoint.part})
    return replace(checkpoint, config=config, origin=origin, files=files, sha256=sha256)


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
            if len(file.keys()) > MAX_TENSORS:
                raise too_many_tensors(path)
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file ({error})") from error


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
