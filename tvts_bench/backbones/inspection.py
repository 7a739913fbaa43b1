"""What a checkpoint is and what would be used of it, told without running anything in it."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.families import families
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.loading import family_and_variant, load_read
from tvts_bench.backbones.recognition import candidates, nearest, recognised
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.hub import read_anywhere
from tvts_bench.video.spec import ClipSpec


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
        name: family or family:variant to try it as; None: told from the tensors.
        weights: which of a training checkpoint's, as `load_backbone` takes it.

    Raises:
        UnknownNameError: no family of that name.
        BackboneError: no variant of that name.
    """
    asked = None if name is None else family_and_variant(name)
    try:
        checkpoint = read_anywhere(reference, weights)
    except UserError as error:
        return Inspection(file=os.fspath(reference), refused=str(error))
    layout, usable = Layout.of(checkpoint), families().usable
    found = tuple(candidates(layout, usable))
    use, refused = None, None
    try:
        family, variant = asked or (recognised(checkpoint), None)
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
        tensors=dict(Counter(tensor.partition(".")[0] for tensor in layout.shapes)),
        dtypes=_dtypes(checkpoint),
        values=sum(tensor.numel() for tensor in checkpoint.tensors.values()),
        saved=checkpoint.metadata,
        stand_ins=checkpoint.stubbed,
        families=found,
        nearest=() if found else tuple(nearest(layout.shapes, usable)),
        use=use,
        notes=checkpoint.notes,
    )


def _dtypes(checkpoint: Checkpoint) -> dict[str, int]:
    return dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()))


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
