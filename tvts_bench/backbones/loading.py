"""A backbone by its name, by its file, or by both."""

import dataclasses
import difflib
import os

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.factories import from_factory, names_factory
from tvts_bench.backbones.families import family
from tvts_bench.backbones.recognition import recognised
from tvts_bench.models.checkpoint import Checkpoint, read_checkpoint
from tvts_bench.models.hub import local_checkpoint


def load_backbone(
    name: str | None = None, checkpoint: str | os.PathLike[str] | None = None, *, seed: int = 0
) -> Backbone:
    """The backbone `name` with the weights of `checkpoint`, in evaluation mode, on the CPU.

    Args:
        name: a family ("tvts", "clip"), one of its variants ("tvts:small"), or a function of one's own that makes a
            backbone ("my_package.my_module:build", "my_file.py:build"; see `from_factory`). None: told from the file.
        checkpoint: a file of weights, a folder of weights and config.json, "hf://OWNER/NAME[@REVISION][/FILE]", or
            "timm/NAME". None: random initialisation from `seed`, a control; `weights.name` says so.
        seed: of the random initialisation; unused with a checkpoint.

    Raises:
        UnknownNameError: no backbone of that name.
        BackboneError: no such variant, neither a name nor a file, or a function that makes something else.
        CheckpointError: the file cannot be had or read safely, or does not fit completely.
    """
    if name is None and checkpoint is None:
        raise BackboneError(f"name a backbone ({', '.join(registry.names('backbones'))}) or a checkpoint")
    if name is not None and names_factory(name):
        return from_factory(name, _read(checkpoint), seed).eval()
    if name is None:
        weights = _read(checkpoint)
        assert weights is not None
        found, variant = recognised(weights), None
    else:
        found, variant = _family_and_variant(name)
        weights = _read(checkpoint)
    backbone = family(found).load(weights, variant, seed).eval()
    if weights is not None:
        origin = weights.origin or backbone.weights.name
        backbone.weights = dataclasses.replace(backbone.weights, name=origin, files=weights.files)
    return backbone


def _family_and_variant(name: str) -> tuple[str, str | None]:
    """The two parts of "family:variant", both known."""
    found, _, variant = name.partition(":")
    plugin = family(found)
    variants = plugin.VARIANTS
    if variant and variant not in variants and not getattr(plugin, "OPEN_VARIANTS", False):
        close = difflib.get_close_matches(variant, variants)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise BackboneError(f"backbone {found} has no variant {variant!r}{hint}; there are: {', '.join(variants)}")
    return found, variant or None


def _read(checkpoint: str | os.PathLike[str] | None) -> Checkpoint | None:
    """What the file holds, wherever it is; None for no file."""
    if checkpoint is None:
        return None
    place = local_checkpoint(checkpoint)
    read = read_checkpoint(place.path)
    return read if place.origin is None else dataclasses.replace(read, origin=place.origin)
