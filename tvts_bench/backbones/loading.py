"""A backbone by its name, by its file, or by both."""

import dataclasses
import difflib
import os

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.factories import from_factory, names_factory
from tvts_bench.backbones.families import families, family
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.recognition import candidates, recognised
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError
from tvts_bench.models.hub import read_anywhere


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
            "timm/NAME". None: random initialisation from `seed`, a control; `weights.name` says so.
        seed: of the random initialisation; unused with a checkpoint.
        weights: which of a training checkpoint's: "ema" for the averaged ones, or the key that they are under. None:
            those that its authors evaluate.

    Raises:
        UnknownNameError: no backbone of that name.
        BackboneError: no such variant, neither a name nor a file, or a function that makes something else.
        CheckpointError: the file cannot be had or read safely, or does not fit completely.
    """
    if name is None and checkpoint is None:
        raise BackboneError(f"name a backbone ({', '.join(registry.names('backbones'))}) or a checkpoint")
    if name is not None and name.removesuffix(":").endswith(".py"):
        raise BackboneError(f"--backbone {name}: name the class or function in it, too: {name.removesuffix(':')}:Net")
    known = family_and_variant(name) if name is not None and not names_factory(name) else None
    if checkpoint is None and weights is not None:
        raise BackboneError(f"--weights {weights} chooses among those in a checkpoint: add --ckpt")
    read = None if checkpoint is None else read_anywhere(checkpoint, weights)
    if name is not None and known is None:
        return from_factory(name, read, seed).eval()
    if known is None:
        assert read is not None
        known = recognised(read), None
    if read is None:
        return _loaded(known[0], None, known[1], seed)
    return load_read(known[0], read, known[1])


def load_as(name: str, checkpoint: str | os.PathLike[str], weights: str | None = None) -> Backbone:
    """The backbone of the family `name` with the weights of `checkpoint`, which may be told to be another's.

    A family that is named takes every file that fits its network, and other families' may: here they are refused.
    `weights` says which of a training checkpoint's, as for `load_backbone`.

    Raises:
        CheckpointError: the file cannot be had or read safely, is of another family, or does not fit completely.
    """
    read = read_anywhere(checkpoint, weights)
    found = candidates(Layout.of(read), families().usable)
    if found and name not in found:
        raise CheckpointMismatchError(f"{read.path} is of {' or '.join(found)}, not of {name}")
    return load_read(name, read)


def load_read(name: str, checkpoint: Checkpoint, variant: str | None = None) -> Backbone:
    """The backbone of the family `name` with the weights that were read.

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
        UnknownNameError: no such family.
        BackboneError: no such variant of it.
    """
    found, _, variant = name.partition(":")
    plugin = family(found)
    variants = plugin.VARIANTS
    if variant and variant not in variants and not getattr(plugin, "OPEN_VARIANTS", False):
        close = difflib.get_close_matches(variant, variants)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise BackboneError(f"backbone {found} has no variant {variant!r}{hint}; there are: {', '.join(variants)}")
    return found, variant or None
