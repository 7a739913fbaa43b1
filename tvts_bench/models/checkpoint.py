"""Weights from files: read safely (nothing in a file runs), loaded completely or not at all."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tvts_bench.models.foreign_config import read_json_object, without_fetching
from tvts_bench.models.pickle_names import MAX_TENSORS
from tvts_bench.models.state_dict import LoadReport as LoadReport
from tvts_bench.models.state_dict import listed as listed
from tvts_bench.models.state_dict import load_strictly as load_strictly
from tvts_bench.models.state_dict import without_prefixes as without_prefixes
from tvts_bench.models.unpickling import PICKLE_MAGIC, ZIP_MAGIC, described, load_pickled, too_many_tensors
from tvts_bench.models.unpickling import CheckpointError as CheckpointError
from tvts_bench.provenance import digest, file_sha256

logger = logging.getLogger(__name__)

INDEX = "model.safetensors.index.json"  # of weights in several safetensors files
FOLDER_WEIGHTS, FOLDER_CONFIG = ("model.safetensors", INDEX, "pytorch_model.bin"), "config.json"
"""What a folder of the Hub's libraries holds; the first of the weights that is there is read."""
INPUT_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
"""Where such a folder describes a model's input; the first that is there counts."""
OWN_METADATA = "tvts_bench.architecture"
"""The safetensors metadata entry (JSON) that marks a file as ours."""
CONTAINER_KEYS = (
    *("state_dict", "model_state", "module", "model"),
    *("teacher", "target_encoder", "ema_encoder", "encoder"),  # averaged networks before those they average
)
"""Where training code keeps the weights among the other things it saves; the first that is there is taken."""
EMA = "ema"
"""What is asked for to get a checkpoint's averaged weights, whatever their key."""
# Keys of averaged weights: timm's state_dict_ema, VideoMAE's and torchvision's model_ema, DINO's teacher, ...
AVERAGED = re.compile(r"(?:^|[_.])(?:ema|swa|avg|averaged?|teacher|target_encoder)(?:$|[_.])")
AVERAGE_COUNTS = ("n_averaged",)  # what torch's AveragedModel keeps beside the weights


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


def _named_tensors(path: Path, content: Mapping[object, object]) -> dict[str, Tensor]:
    """The tensors of a dictionary, which must have names; other values are left out."""
    tensors = {key: value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    nameless = [key for key in tensors if not isinstance(key, str)]
    if nameless:
        raise CheckpointError(f"{path} is not a state dict: it has a tensor under {nameless[0]!r}, which is no name")
    if not tensors:
        names = listed([str(key) for key in content]) or "nothing"
        raise CheckpointError(f"{path} holds no tensors where weights are expected; it has: {names}")
    return {str(key): value for key, value in tensors.items()}


def _refuse_more_than_is_there(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Nothing where the file is as large as each of its tensors; strides can make any size of a single number."""
    size = path.stat().st_size
    larger = [name for name, tensor in tensors.items() if tensor.numel() * tensor.element_size() > size]
    if larger:
        raise CheckpointError(f"{path} has tensors that are larger than the whole file: {listed(larger)}")


def indexed(index: Path) -> dict[str, frozenset[str]]:
    """Names of the tensors in each file beside the index.

    Raises:
        CheckpointError: it cannot be read, or is no index of files in its own folder.
    """
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, Mapping) or not places or not all(map(_is_shard, places.values())):
        raise CheckpointError(f"{index} does not say which tensor is in which file beside it: fetch the folder anew")
    named: dict[str, set[str]] = {file: set() for file in sorted(set(places.values()))}
    for name, file in places.items():
        named[file].add(name)
    return {file: frozenset(names) for file, names in named.items()}


def _is_shard(name: object) -> bool:
    """Whether this is the name of a safetensors file, and no way out of the folder."""
    return isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\"} & set(name)


class Choice(NamedTuple):
    """The weights taken from a checkpoint, and what lies beside them."""

    held: Mapping[object, object]  # tensors by name, and perhaps other things
    container: str | None  # their key; None where they lay bare
    beside: tuple[str, ...]  # other keys that hold tensors
    part: str | None = None  # `container`, where it is not the one that is taken by default
    notes: tuple[str, ...] = ()  # what every result should say of the choice


def choose(path: Path, content: Mapping[Any, object], weights: str | None = None) -> Choice:
    """The weights in a checkpoint that are asked for, or those of the first of `CONTAINER_KEYS` that is there.

    Args:
        path: the file, for messages.
        content: what it holds.
        weights: "ema" for the averaged weights under whichever key, or the key itself; None for the usual ones.

    Raises:
        CheckpointError: there are no such weights; the message says which there are.
    """
    holders = [str(key) for key, value in content.items() if isinstance(value, Mapping) and _tensors_in(value)]
    averaged = [key for key in holders if AVERAGED.search(key)]
    default = next((key for key in CONTAINER_KEYS if key in holders), None)
    if default is None and len(averaged) == 1 and not _holds_tensors(content):
        default = averaged[0]
    container = default
    if weights is not None:
        container = averaged[0] if weights == EMA and averaged else weights
        if container not in holders:
            raise CheckpointError(_missing(path, content, weights, holders))
    taken = content if container is None else content[container]
    assert isinstance(taken, Mapping)
    if container is not None and AVERAGED.search(container):
        taken = {key: value for key, value in _innermost(taken).items() if key not in AVERAGE_COUNTS}
    left = [key for key in averaged if key != container]
    note = (
        f"{path.name} holds averaged weights under {' and '.join(map(repr, left))}; those"
        f" {f'under {container!r}' if container else 'beside them'} were taken (--weights ema takes the averaged ones)"
    )
    return Choice(
        held=taken,
        container=container,
        beside=tuple(key for key in holders if key != container),
        part=container if container != default else None,
        notes=(note,) if left and weights is None and not (container and AVERAGED.search(container)) else (),
    )


def refuse_choice(path: Path, weights: str | None) -> None:
    """Nothing where no choice was asked for of a file that holds the weights of one network alone.

    Raises:
        CheckpointError: one was.
    """
    if weights is not None:
        raise CheckpointError(f"{path} holds one set of weights, so there is no {weights!r}: leave out --weights")


def _missing(path: Path, content: Mapping[Any, object], weights: str, holders: list[str]) -> str:
    """Why `weights` cannot be taken."""
    there = f"weights are under {', '.join(map(repr, holders))}" if holders else "it holds one set of weights"
    there = f"{there}; leave out --weights for the usual ones"
    unreadable = [key for key in content if key == weights or (weights == EMA and AVERAGED.search(str(key)))]
    if unreadable:
        key = unreadable[0]
        return f"{path} holds {described(content[key])} under {key!r}, not a dictionary of tensors; {there}"
    return f"{path} has no {'averaged weights' if weights == EMA else f'weights under {weights!r}'}; {there}"


def _innermost(held: Mapping[Any, object]) -> Mapping[Any, object]:
    """The weights themselves where an average keeps them one level down, beside its decay."""
    inner = (held.get(key) for key in (*CONTAINER_KEYS, "shadow"))
    return next((each for each in inner if isinstance(each, Mapping) and _holds_tensors(each)), held)


def _tensors_in(value: Mapping[Any, object]) -> bool:
    return _holds_tensors(_innermost(value))


def _holds_tensors(value: Mapping[Any, object]) -> bool:
    return any(isinstance(each, Tensor) for each in value.values())
