"""Families of video networks: official files may hold more than the encoder, under a prefix and beside other parts."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import CheckpointMismatchError
from tvts_bench.models.video_network import NetworkSize, VideoNetwork, VideoNetworkError
from tvts_bench.video.spec import ClipSpec

Size = TypeVar("Size", bound=NetworkSize)
Tensors = Mapping[str, Tensor]


def video_family(
    *,
    name: str,
    sizes: Mapping[str, Size],
    build: Callable[[Size], VideoNetwork],
    tell: Callable[[SizeTeller], Size],
    convert: Callable[[Tensors], dict[str, Tensor]],
    clip_spec: Callable[[Size], ClipSpec],
    prefix: str,
    others: tuple[str, ...] = (),
    inner: Callable[[str], bool] = lambda name: name.startswith("head."),
) -> FileFamily[Size]:
    """A family whose networks are `VideoNetwork`s.

    Args:
        name: the plug-in's.
        sizes: by variant, the default first.
        build: the network of a size, randomly initialised.
        tell: the size of an encoder, by its names without `prefix`.
        convert: an encoder's tensors, by the network's names.
        clip_spec: the input its authors evaluate with.
        prefix: of the encoder's names, in files that hold more.
        others: prefixes of the known parts beside it, wanted nowhere.
        inner: whether a name without `prefix` is of a known part inside, wanted nowhere: by default, a classifier's.
    """

    def unused(full: str) -> bool:
        return (not full.startswith(prefix) and full.startswith(others)) or inner(full.removeprefix(prefix))

    def told(teller: SizeTeller) -> Size:
        try:
            return tell(SizeTeller(_encoder(teller.tensors, prefix), teller.source))
        except VideoNetworkError as error:
            raise CheckpointMismatchError(f"{teller.source} holds no network of {name}: {error}") from error

    return FileFamily(
        name=name,
        sizes=sizes,
        tell=told,
        build=build,
        convert=lambda tensors: convert(_without(prefix, tensors)),
        unused=unused,
        clip_spec=clip_spec,
        adaptations=_adaptations,
    )


def encoder_layout(layout: Layout, prefix: str) -> Layout:
    """The encoder's part of a file that may hold more: what stands under `prefix`, or all where nothing does."""
    return layout.under(prefix) if layout.starts(prefix) else layout


def _encoder(tensors: Tensors, prefix: str) -> Tensors:
    """The encoder's tensors without `prefix`; all where no name has it."""
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return inside or tensors


def _without(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """`tensors` without `prefix`; one that is there without it, too, keeps it, and strict loading refuses its name."""
    short = {name: name.removeprefix(prefix) for name in tensors}
    return {name if new != name and new in tensors else new: tensors[name] for name, new in short.items()}


def _adaptations(name: str, size: NetworkSize, own: ClipSpec, clip: ClipSpec) -> tuple[str, ...]:
    try:
        return size.adaptations(clip.num_frames, clip.crop)
    except VideoNetworkError as error:
        raise BackboneError(f"backbone {name}: {error}") from error
