"""From a file, or a seed, to a backbone: what families share whose official files differ in size alone."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from torch import Tensor, nn

from tvts_bench.backbones.adapted import AdaptedBackbone
from tvts_bench.backbones.base import Backbone, WeightSource
from tvts_bench.backbones.seeded import random_source, seeded, unfilled
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, load_strictly, without_prefixes
from tvts_bench.models.foreign_config import MAX_LAYERS
from tvts_bench.video.spec import ClipSpec

HEAD_WIDTH = 64  # channels of an attention head, where a family does not say otherwise


class NamedSize(Protocol):
    """The shape of a network; equal sizes are one variant."""

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        ...

    @property
    def label(self) -> str:
        """What the size is called that has no name: "768x12"."""
        ...


Size = TypeVar("Size", bound=NamedSize)


class SizeTeller:
    """Reads a network's size off the tensors of a file; what does not allow it is refused with the tensor's name."""

    def __init__(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        self.tensors, self.source = tensors, source

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of the tensor `name`.

        Raises:
            CheckpointMismatchError: it is missing, empty, or has not that many dimensions.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointMismatchError(f"{self.source} has no {name}, which tells the size of the network")
        if tensor.ndim != dimensions or 0 in tensor.shape:
            raise CheckpointMismatchError(
                f"{self.source}: {name} is {list(tensor.shape)}, expected {dimensions} dimensions, none of them 0"
            )
        return tuple(tensor.shape)

    def width(self, norm: str) -> int:
        """D, the length of the tensor `norm`: a multiple of a head's 64 channels."""
        (width,) = self.shape(norm, 1)
        if width % HEAD_WIDTH:
            raise CheckpointMismatchError(
                f"{self.source}: {norm} has {width} entries, expected a multiple of {HEAD_WIDTH} (a head's width)"
            )
        return width

    def depth(self, prefix: str) -> int:
        """Blocks: how many different numbers follow `prefix`.

        Raises:
            CheckpointMismatchError: more than any network has, which would take minutes to build.
        """
        depth = len({name.removeprefix(prefix).split(".")[0] for name in self.tensors if name.startswith(prefix)})
        if depth > MAX_LAYERS:
            raise CheckpointMismatchError(
                f"{self.source} has {depth:,} different {prefix}*, expected blocks of a network, at most {MAX_LAYERS:,}"
            )
        return depth

    def hidden(self, prefix: str, suffix: str) -> int:
        """Width inside the MLP: the length of the first tensor whose name starts and ends so."""
        first = next((name for name in self.tensors if name.startswith(prefix) and name.endswith(suffix)), None)
        return self.shape(first or f"{prefix}0{suffix}", 1)[0]

    def grid(self, positions: int, name: str) -> int:
        """Side of the square that `positions` patches make."""
        side = math.isqrt(max(positions, 0))
        if side == 0 or side * side != positions:
            raise CheckpointMismatchError(f"{self.source}: {name} has {positions} places for patches, not a square")
        return side


@dataclass(frozen=True, kw_only=True)
class FileFamily(Generic[Size]):
    """How a size is told, built, filled and fed. Of the network, `tokens` and `layer_of` are used where it has them."""

    name: str  # the plug-in's
    sizes: Mapping[str, Size]  # by variant, the default first
    tell: Callable[[SizeTeller], Size]  # the size of the network in a file
    build: Callable[[Size], nn.Module]  # the network of a size, randomly initialised
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # a file's tensors, by the network's names
    unused: Callable[[str], bool]  # whether a file's tensor of this name is known and wanted nowhere
    clip_spec: Callable[[Size], ClipSpec]  # the input its authors evaluate with
    adaptations: Callable[[str, Size, ClipSpec, ClipSpec], tuple[str, ...]] = lambda name, size, own, clip: ()
    """What the backbone `name` (family:variant) changes to take the last clip in place of its own, the one before."""

    def load(self, checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
        """The network with a file's weights, or randomly initialised from `seed`: the default size, or the one named.

        Raises:
            CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
        """
        if checkpoint is None:
            name = variant or next(iter(self.sizes))
            size = self.sizes[name]
            network = seeded(partial(self.build, size), seed)
            return self._backbone(network, size, name, random_source(network, seed))
        tensors = without_prefixes(checkpoint.tensors)
        unused = [name for name in tensors if self.unused(name)]
        wanted = {name: tensor for name, tensor in tensors.items() if not self.unused(name)}
        size = self.tell(SizeTeller(tensors, checkpoint.path))
        found = next((name for name, known in self.sizes.items() if known == size), size.label)
        if variant not in (None, found):
            raise CheckpointMismatchError(
                f"{checkpoint.path} holds {self.name}:{found}, not the {self.name}:{variant} asked for"
            )
        ours = self.convert(wanted)
        network = unfilled(partial(self.build, size), ours, checkpoint.path)
        report = load_strictly(network, ours, checkpoint.path, format=checkpoint.format, unused=unused)
        weights = WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)
        return self._backbone(network, size, found, weights)

    def _backbone(self, network: nn.Module, size: Size, variant: str, weights: WeightSource) -> Backbone:
        spec = self.clip_spec(size)
        return AdaptedBackbone(
            network=network,
            family=self.name,
            variant=variant,
            embed_dim=size.embed_dim,
            clip_spec=spec,
            weights=weights,
            tokens=getattr(network, "tokens", None),
            layer_of=getattr(network, "layer_of", None),
            adaptations=partial(self.adaptations, f"{self.name}:{variant}", size, spec),
        )
