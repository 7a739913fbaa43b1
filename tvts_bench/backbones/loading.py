"""A backbone by its name, by its file, or by both."""

import difflib
import os
from pathlib import Path
from typing import cast

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError, BackbonePlugin
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.recognition import description
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, read_checkpoint


def load_backbone(
    name: str | None = None, checkpoint: str | os.PathLike[str] | None = None, *, seed: int = 0
) -> Backbone:
    """The backbone `name` with the weights of `checkpoint`, in evaluation mode, on the CPU.

    Args:
        name: a family ("tvts", "pixels") or one of its variants ("tvts:small"). None: told from the file.
        checkpoint: a file of weights. None: random initialisation from `seed`, a control; `weights.name` says so.
        seed: of the random initialisation; unused with a checkpoint.

    Raises:
        UnknownNameError: no backbone of that name.
        BackboneError: no such variant, or neither a name nor a file.
        CheckpointError: the file cannot be read safely, or does not fit completely.
    """
    if name is None and checkpoint is None:
        raise BackboneError(f"name a backbone ({', '.join(registry.names('backbones'))}) or a checkpoint")
    if name is not None:
        family, _, variant = name.partition(":")
        plugin = _plugin(family)
        if variant and variant not in plugin.VARIANTS:
            close = difflib.get_close_matches(variant, plugin.VARIANTS)
            hint = f" (did you mean {' or '.join(close)}?)" if close else ""
            raise BackboneError(
                f"backbone {family} has no variant {variant!r}{hint}; there are: {', '.join(plugin.VARIANTS)}"
            )
        weights = read_checkpoint(Path(checkpoint)) if checkpoint is not None else None
        return plugin.load(weights, variant or None, seed).eval()
    assert checkpoint is not None
    weights = read_checkpoint(Path(checkpoint))
    return _recognised(weights).load(weights, None, seed).eval()


def _plugin(family: str) -> BackbonePlugin:
    return cast(BackbonePlugin, registry.load("backbones", family))


def _recognised(checkpoint: Checkpoint) -> BackbonePlugin:
    """The family that a file's tensor names belong to."""
    layout = Layout.of(checkpoint)
    families = registry.names("backbones")
    plugin = next((plugin for plugin in map(_plugin, families) if plugin.recognises(layout)), None)
    if plugin is None:
        raise CheckpointMismatchError(
            f"{checkpoint.path} is of no known backbone ({', '.join(families)}): {description(checkpoint.tensors)}"
        )
    return plugin
