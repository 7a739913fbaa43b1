"""A backbone by its name, by its file, or by both; and what a file holds, told without loading it for use."""

import dataclasses
import difflib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.custom import from_factory, is_factory
from tvts_bench.backbones.detect import CheckpointSignature, candidates, detect, families, family, nearest
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.hub import read_anywhere
from tvts_bench.video.spec import ClipSpec


def load_backbone(
    name: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    weights: str | None = None,
) -> Backbone:
    """The backbone `name` with the weights of `checkpoint`, in evaluation mode, on the CPU.

    Args:
        name: a family ("tvts", "clip"), one of its variants ("tvts:small"), or a function of one's own that makes a
            backbone ("my_package.my_module:build", "my_file.py:build"; see `from_factory`). None: told from the file.
        checkpoint: a file of weights, a folder of weights and config.json, "hf://OWNER/NAME[@REVISION][/FILE]", or
            "timm/NAME". None: random initialisation from `seed`, the random-weights baseline; `weights.name` says so.
        seed: of the random initialisation; unused with a checkpoint.
        weights: which of a training checkpoint's: "ema" for the averaged ones, or the key that they are under. None:
            those that its authors evaluate.

    Raises:
        UserError: no backbone of that name.
        BackboneError: no such variant, neither a name nor a file, or a function that makes something else.
        CheckpointError: the file cannot be had or read safely, or does not fit completely.
    """
    if name is None and checkpoint is None:
        raise BackboneError(f"name a backbone ({', '.join(registry.names('backbones'))}) or a checkpoint")
    if name is not None and name.removesuffix(":").endswith(".py"):
        raise BackboneError(f"--backbone {name}: name the class or function in it, too: {name.removesuffix(':')}:Net")
    known = family_and_variant(name) if name is not None and not is_factory(name) else None
    if checkpoint is None and weights is not None:
        raise BackboneError(f"--weights {weights} chooses among those in a checkpoint: add --ckpt")
    read = None if checkpoint is None else read_anywhere(checkpoint, weights)
    if name is not None and known is None:
        return from_factory(name, read, seed).eval()
    if known is None:
        assert read is not None
        known = detect(read), None
    if read is None:
        return _loaded(known[0], None, known[1], seed)
    return load_read(known[0], read, known[1])


def load_as(name: str, checkpoint: str | os.PathLike[str], weights: str | None = None) -> Backbone:
    """The backbone of the family `name` with the weights of `checkpoint`, which may be told to be another's.

    A family that is named takes every file that fits its network, and other families' may: here they are refused.

    Args:
        name: of the family.
        checkpoint: as `load_backbone` takes it.
        weights: which of a training checkpoint's, as for `load_backbone`.

    Raises:
        CheckpointError: the file cannot be had or read safely, is of another family, or does not fit completely.
    """
    read = read_anywhere(checkpoint, weights)
    matching = candidates(CheckpointSignature.of(read), families().usable)
    if matching and name not in matching:
        raise CheckpointError(f"{read.path} is of {' or '.join(matching)}, not of {name}")
    return load_read(name, read)


def load_read(name: str, checkpoint: Checkpoint, variant: str | None = None) -> Backbone:
    """The backbone of the family `name` with the weights that were read.

    Args:
        name: of the family.
        checkpoint: the file.
        variant: of the family; None: whichever the file holds.

    Raises:
        CheckpointError: they do not fit completely.
    """
    backbone = _loaded(name, checkpoint, variant, 0)
    called = checkpoint.title if checkpoint.origin or checkpoint.part else backbone.weights.name
    notes = (*checkpoint.notes, *backbone.weights.notes)
    backbone.weights = dataclasses.replace(backbone.weights, name=called, files=checkpoint.files, notes=notes)
    return backbone


def _loaded(name: str, checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """What the family makes, in evaluation mode; other packages' may fail in ways of their own."""
    try:
        backbone: object = family(name).load(checkpoint, variant, seed)
    except (Exception, SystemExit) as error:
        if registry.is_own("backbones", name) or isinstance(error, UserError):
            raise
        raise BackboneError(f"backbone {name} of another package fails ({error!r}): ask its authors") from error
    if not isinstance(backbone, Backbone):
        raise BackboneError(
            f"backbone {name} made {with_article(type(backbone).__name__)}, expected a tvts_bench Backbone"
        )
    return backbone.eval()


def family_and_variant(name: str) -> tuple[str, str | None]:
    """The two parts of "family:variant", both known.

    Raises:
        UserError: no such family.
        BackboneError: no such variant of it.
    """
    family_name, _, variant = name.partition(":")
    declared = family(family_name)
    variants = declared.variants
    if variant and variant not in variants and not getattr(declared, "open_variants", False):
        close = difflib.get_close_matches(variant, variants)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise BackboneError(
            f"backbone {family_name} has no variant {variant!r}{hint}; there are: {', '.join(variants)}"
        )
    return family_name, variant or None


@dataclass(frozen=True, kw_only=True)
class Use:
    """What the backbone that a file is of would take from it."""

    backbone: str  # family:variant
    tensors: int  # loaded: all that the network has
    parameters: int  # numbers in the network
    unused: Mapping[str, int]  # tensors that are left out, by the part of the file they belong to
    embed_dim: int
    clip: ClipSpec  # the input it expects


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a checkpoint holds. What could not be learned before it was refused is empty."""

    file: str  # as asked for, or where on the Hub it is from
    refused: str | None  # why it would not be loaded
    sha256: str = ""
    format: str = ""
    container: str | None = None  # key of the file under which the tensors are
    beside: tuple[str, ...] = ()  # other keys that hold tensors, which are left alone
    tensors: Mapping[str, int] = field(default_factory=dict)  # their number, by the first part of their names
    dtypes: Mapping[str, int] = field(default_factory=dict)  # tensors of each
    values: int = 0  # numbers in all of them
    saved: Mapping[str, Any] = field(default_factory=dict)  # plain values beside the tensors: epoch, arch, ...
    stand_ins: tuple[str, ...] = ()  # names that the file has Python look up: answered with inert objects
    families: tuple[str, ...] = ()  # whose tensors are called so; one, or the choice to be made
    nearest: tuple[str, ...] = ()  # where there is none
    use: Use | None = None
    notes: tuple[str, ...] = ()  # what every result of them would say


def inspect_checkpoint(
    reference: str | os.PathLike[str], name: str | None = None, weights: str | None = None
) -> Inspection:
    """What is in the file, folder or repository, and what of it `load_backbone` would use.

    Args:
        reference: as `load_backbone` takes it.
        name: family or family:variant to try it as; None: detected from the tensors.
        weights: which of a training checkpoint's, as `load_backbone` takes it.

    Raises:
        UserError: no family of that name.
        BackboneError: no variant of that name.
    """
    named = None if name is None else family_and_variant(name)
    try:
        checkpoint = read_anywhere(reference, weights)
    except UserError as error:
        return Inspection(file=os.fspath(reference), refused=str(error))
    signature, usable = CheckpointSignature.of(checkpoint), families().usable
    matching = tuple(candidates(signature, usable))
    use, refused = None, None
    try:
        family, variant = named or (detect(checkpoint), None)
        use = _use(load_read(family, checkpoint, variant))
    except UserError as error:
        refused = str(error)
    return Inspection(
        file=checkpoint.origin or str(checkpoint.path),
        refused=refused,
        sha256=checkpoint.sha256,
        format=checkpoint.format,
        container=checkpoint.container,
        beside=checkpoint.beside,
        tensors=dict(Counter(tensor.partition(".")[0] for tensor in signature.shapes)),
        dtypes=dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values())),
        values=sum(tensor.numel() for tensor in checkpoint.tensors.values()),
        saved=checkpoint.metadata,
        stand_ins=checkpoint.stubbed,
        families=matching,
        nearest=() if matching else tuple(nearest(signature.shapes, usable)),
        use=use,
        notes=checkpoint.notes,
    )


def _use(backbone: Backbone) -> Use:
    report = backbone.weights.report
    if report is None:
        raise BackboneError(f"backbone {backbone.family} does not say which tensors it took (its weights.report)")
    return Use(
        backbone=f"{backbone.family}:{backbone.variant}",
        tensors=report.used,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        unused=report.unused_parts(),
        embed_dim=backbone.embed_dim,
        clip=backbone.clip_spec,
    )
