"""A user's own backbone by name: `package.module:function` or `path/to/file.py:function`, called without arguments.

The function returns a network (`nn.Module`) from clips [B, 3, T, H, W] to embeddings [B, D], or a `Backbone`. Members
of the network that are used where they are: `clip_spec`, its input; `tokens(clips)`; `layer_of(name)`.
"""

import importlib
import importlib.util
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError, as_embedding, tensors_sha256
from tvts_bench.backbones.own import as_backbone
from tvts_bench.backbones.seeded import seeded
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import Checkpoint, LoadReport, load_strictly, without_prefixes
from tvts_bench.provenance import digest, file_sha256
from tvts_bench.video.spec import ClipSpec

FILE = ".py"
FIELDS = ("family", "variant", "embed_dim", "clip_spec", "weights")  # of a `Backbone`, set by its constructor


def names_factory(name: str) -> bool:
    """Whether `name` is a function's place, and not a family with a variant ("tvts:small")."""
    place, colon, function = name.rpartition(":")
    if not colon or not function.isidentifier() or place.replace("-", "_") in registry.names("backbones"):
        return False
    is_module = place.isidentifier() and place != "__main__" and importlib.util.find_spec(place) is not None
    return "." in place or "/" in place or is_module


def from_factory(name: str, checkpoint: Checkpoint | None, seed: int) -> Backbone:
    """The backbone that the function called `name` makes, with the weights of `checkpoint`.

    Args:
        name: "package.module:function" or "path/to/file.py:function".
        checkpoint: loaded strictly into what the function returns, by that network's own names. None: the weights
            stay as the function made them, torch's random numbers starting from `seed`.
        seed: of what the function draws.

    Raises:
        BackboneError: no such module, file or function; it fails; or what it returns is no backbone.
        CheckpointMismatchError: the file does not fit the network completely.
    """
    module = _imported(name)
    network = _built(name, module, seed)
    report = None
    if checkpoint is not None:
        report = load_strictly(network, without_prefixes(checkpoint.tensors), checkpoint.path, format=checkpoint.format)
    backbone = _tried(name, network)
    _record(backbone, name, module, checkpoint, report, seed)
    return backbone


def _imported(name: str) -> ModuleType:
    """The module that `name` is in; a file's folder is then on the path, as when Python runs that file."""
    place, _, _ = name.rpartition(":")
    path = Path(place)
    if place.endswith(FILE) and not path.is_file():
        raise BackboneError(f"--backbone {name}: there is no file {path}")
    try:
        if not place.endswith(FILE):
            return importlib.import_module(place)
        if str(path.resolve().parent) not in sys.path:
            sys.path.append(str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(f"tvts_bench_factory_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # dataclasses look there for the module of a class
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends when it is imported must not end this program
        if isinstance(error, ModuleNotFoundError) and error.name and f"{place}.".startswith(f"{error.name}."):
            raise BackboneError(
                f"--backbone {name}: there is no module {error.name} here or installed; a file is named by its path,"
                f" path/to/file.py:{name.rpartition(':')[2]}"
            ) from error
        raise BackboneError(f"--backbone {name}: {place} cannot be imported ({_said(error)})") from error
    return module


def _built(name: str, module: ModuleType, seed: int) -> nn.Module:
    """What the function returns, if it is a network."""
    place, _, function = name.rpartition(":")
    build = getattr(module, function, None)
    if not callable(build):
        own = (each for each in vars(module).items() if inspect.isfunction(each[1]) and each[0][0] != "_")
        there = [each for each, value in own if value.__module__ == module.__name__]
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise BackboneError(f"--backbone {name}: {place} has no function {function}; {has}")

    def network() -> nn.Module:
        made: object = build()
        if isinstance(made, nn.Module):
            return made
        raise BackboneError(f"{function}() returned {with_article(type(made).__name__)}, expected a torch.nn.Module")

    try:
        return seeded(network, seed)
    except UserError as error:
        raise BackboneError(f"--backbone {name}: {error}") from error
    except (Exception, SystemExit) as error:
        raise BackboneError(f"--backbone {name}: {function}() fails ({_said(error)})") from error


def _tried(name: str, network: nn.Module) -> Backbone:
    """The network as a backbone that returns what it should for one clip of zeros."""
    spec = getattr(network, "clip_spec", None)
    if spec is not None and not isinstance(spec, ClipSpec):
        raise BackboneError(
            f"--backbone {name}: clip_spec is {with_article(type(spec).__name__)}, expected a tvts_bench.ClipSpec"
        )
    try:
        if not isinstance(network, Backbone):
            return as_backbone(network, _short(name), spec)
        missing = [field for field in FIELDS if not hasattr(network, field)]
        if missing:
            raise BackboneError(f"its {type(network).__name__} is a Backbone without {', '.join(missing)}")
        clip = torch.zeros(1, 3, network.clip_spec.num_frames, network.clip_spec.crop, network.clip_spec.crop)
        with torch.inference_mode():
            as_embedding(network(clip), network, 1)
    except UserError as error:
        raise BackboneError(f"--backbone {name}: {error}") from error
    except Exception as error:
        shape = spec or ClipSpec()
        raise BackboneError(
            f"--backbone {name}: {type(network).__name__} fails for clips [1, 3, {shape.num_frames}, {shape.crop},"
            f" {shape.crop}] ({_said(error)}); the input that it takes is its attribute clip_spec"
        ) from error
    return network


def _record(
    backbone: Backbone,
    name: str,
    module: ModuleType,
    checkpoint: Checkpoint | None,
    report: LoadReport | None,
    seed: int,
) -> None:
    """Say in `weights` what made them. The code counts: changed, it may give other features of the same weights."""
    code: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    source = inspect.getsourcefile(module)
    if source is not None and Path(source).is_file():
        code = {Path(source).name: file_sha256(Path(source))}
    if checkpoint is None:
        made, files = f"as {_short(name)} makes them (seed {seed})", code
        sha256 = digest({"tensors": tensors_sha256(backbone), **code})
    else:
        made = checkpoint.title
        files = {**(checkpoint.files or {checkpoint.path.name: checkpoint.sha256}), **code}
        sha256 = digest(files if checkpoint.part is None else {**files, "weights": checkpoint.part})
        notes = checkpoint.notes
    backbone.weights = replace(backbone.weights, name=made, sha256=sha256, files=files, report=report, notes=notes)


def _short(name: str) -> str:
    """The name without the file's folders: a run has the same key wherever its code lies."""
    return Path(name).name


def _said(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
