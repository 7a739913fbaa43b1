"""A user's own network as a backbone: a module, or the function that makes one, without a plug-in.

A function is named `package.module:function` or `path/to/file.py:function` and called without arguments. It returns a
network (`nn.Module`) from clips [B, 3, T, H, W] to embeddings [B, D], or a `Backbone`. Members of the network that are
used where they are: `clip_spec`, its input; `tokens(clips)`; `layer_of(name)`.
"""

import importlib
import importlib.util
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from tvts_bench import registry
from tvts_bench.backbones.base import (
    Backbone,
    BackboneError,
    WeightSource,
    as_embedding,
    dry_forward,
    first_line,
    tensors_sha256,
)
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.state_dict import LoadReport, load_strictly, seeded, without_prefixes
from tvts_bench.provenance import digest, file_sha256
from tvts_bench.video.spec import ClipSpec

FILE = ".py"
FIELDS = ("family", "variant", "embed_dim", "clip_spec", "weights")  # of a `Backbone`, set by its constructor


def as_backbone(module: nn.Module, name: str, clip_spec: ClipSpec | None = None) -> Backbone:
    """`module` as `evaluate` takes it.

        as_backbone(torchvision.models.video.r3d_18(weights="DEFAULT"), "r3d_18", ClipSpec(crop=112, short_side=128))

    Args:
        module: from clips [B, 3, T, H, W], normalised as `clip_spec` says, to embeddings [B, D]; held, not copied. Its
            methods `tokens(clips)` ([B, N, D], for attentive probes) and `layer_of(name)` (for layer-wise learning
            rates, by its own names) are used where it has them.
        name: says in every result what this is; another architecture with the same weights needs another name.
        clip_spec: its input; 16 frames of 224 x 224 by default.

    Raises:
        BackboneError: the module returns something else for a clip of zeros.
    """
    return _Own(module, name, clip_spec or ClipSpec())


class _Own(Backbone):
    family = "own"

    def __init__(self, module: nn.Module, name: str, clip_spec: ClipSpec) -> None:
        super().__init__()
        self.module = module
        self.variant = name
        self.clip_spec = clip_spec
        self.embed_dim = _embed_dim(module, clip_spec)
        self.weights = WeightSource(name=f"{name}, as handed over", sha256=tensors_sha256(module))

    def forward(self, clips: Tensor) -> Tensor:
        """What the module returns, [B, embed_dim]."""
        return self.module(clips)  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """The module's own `tokens`, where it has that method."""
        own = getattr(self.module, "tokens", None)
        return own(clips) if callable(own) else super().tokens(clips)

    def layer_of(self, name: str) -> int:
        """The module's own `layer_of`, where it has that method, with its own names."""
        own = getattr(self.module, "layer_of", None)
        return own(name.removeprefix("module.")) if callable(own) else super().layer_of(name)


def _embed_dim(module: nn.Module, spec: ClipSpec) -> int:
    """D, from one clip of zeros."""
    training = module.training
    module.eval()  # one clip is too few for batch normalisation in training
    try:
        output = dry_forward(module, spec)
    finally:
        module.train(training)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1 or not output.is_floating_point():
        got = f"{list(output.shape)} ({output.dtype})" if isinstance(output, Tensor) else type(output).__name__
        shape = [1, 3, spec.num_frames, spec.crop, spec.crop]
        raise BackboneError(f"{type(module).__name__} returned {got} for clips {shape}, expected [1, D]")
    return output.shape[1]


def is_factory(name: str) -> bool:
    """Whether `name` names a function, and not a family with a variant ("tvts:small")."""
    location, colon, function = name.rpartition(":")
    if not colon or not function.isidentifier() or location.replace("-", "_") in registry.names("backbones"):
        return False
    is_module = location.isidentifier() and location != "__main__" and importlib.util.find_spec(location) is not None
    return "." in location or "/" in location or is_module


def from_factory(name: str, checkpoint: Checkpoint | None, seed: int) -> Backbone:
    """The backbone that the function called `name` makes, with the weights of `checkpoint`.

    Args:
        name: "package.module:function" or "path/to/file.py:function".
        checkpoint: loaded strictly into what the function returns, by that network's own names. None: the weights
            stay as the function made them, torch's random numbers starting from `seed`.
        seed: of what the function draws.

    Raises:
        BackboneError: no such module, file or function; it fails; or what it returns is no backbone.
        CheckpointError: the file does not fit the network completely.
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
    location, _, _ = name.rpartition(":")
    path = Path(location)
    if location.endswith(FILE) and not path.is_file():
        raise BackboneError(f"--backbone {name}: there is no file {path}")
    try:
        if not location.endswith(FILE):
            return importlib.import_module(location)
        if str(path.resolve().parent) not in sys.path:
            sys.path.append(str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(f"tvts_bench_factory_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # dataclasses look there for the module of a class
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends when it is imported must not end this program
        if isinstance(error, ModuleNotFoundError) and error.name and f"{location}.".startswith(f"{error.name}."):
            raise BackboneError(
                f"--backbone {name}: there is no module {error.name} here or installed; a file is named by its path,"
                f" path/to/file.py:{name.rpartition(':')[2]}"
            ) from error
        raise BackboneError(f"--backbone {name}: {location} cannot be imported ({_typed(error)})") from error
    return module


def _built(name: str, module: ModuleType, seed: int) -> nn.Module:
    """What the function returns, if it is a network."""
    location, _, function = name.rpartition(":")
    build = getattr(module, function, None)
    if not callable(build):
        own = (each for each in vars(module).items() if inspect.isfunction(each[1]) and each[0][0] != "_")
        there = [each for each, value in own if value.__module__ == module.__name__]
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise BackboneError(f"--backbone {name}: {location} has no function {function}; {has}")

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
        raise BackboneError(f"--backbone {name}: {function}() fails ({_typed(error)})") from error


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
        as_embedding(dry_forward(network, network.clip_spec), network, 1)
    except UserError as error:
        raise BackboneError(f"--backbone {name}: {error}") from error
    except Exception as error:
        shape = spec or ClipSpec()
        raise BackboneError(
            f"--backbone {name}: {type(network).__name__} fails for clips [1, 3, {shape.num_frames}, {shape.crop},"
            f" {shape.crop}] ({_typed(error)}); the input that it takes is its attribute clip_spec"
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


def _typed(error: BaseException) -> str:
    """An exception in one line, its type first."""
    line, kind = first_line(error), type(error).__name__
    return kind if line == kind else f"{kind}: {line}"
