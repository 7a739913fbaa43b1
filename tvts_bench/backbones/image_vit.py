"""What the frame-averaged vision transformers share: a size told from a file, and what another resolution changes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor

from tvts_bench.backbones.adapted import AdaptedBackbone
from tvts_bench.backbones.base import Backbone, BackboneError, WeightSource
from tvts_bench.backbones.seeded import random_source, seeded, unfilled
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, load_strictly, without_prefixes
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.video.spec import ClipSpec

HEAD_WIDTH = 64  # channels of an attention head, in all of them


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The shape of a vision transformer; the defaults are ViT-B/16 at 224."""

    width: int = 768  # D
    depth: int = 12  # blocks
    patch_size: int = 16  # pixels
    grid: int = 14  # side of the table of positions; 0 where there is none
    hidden: int = 3072  # width inside the MLP; of both halves together where it is gated

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.width

    @property
    def resampling(self) -> str:
        """How the table of positions is resampled for other resolutions, in words."""
        return "bicubic, antialiased"

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // HEAD_WIDTH

    @property
    def mlp_ratio(self) -> float:
        """`hidden` and a half as a multiple of `width`: timm takes int(width * ratio), and rounding must lose none."""
        return (self.hidden + 0.5) / self.width


Size = TypeVar("Size", bound=ImageSize)


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
        """Blocks: how many different numbers follow `prefix`."""
        return len({name.removeprefix(prefix).split(".")[0] for name in self.tensors if name.startswith(prefix)})

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
class ImageFamily(Generic[Size]):
    """A family whose files differ in size alone: how a size is told, built, filled and fed."""

    name: str  # the plug-in's
    sizes: Mapping[str, Size]  # by variant, the default first
    tell: Callable[[SizeTeller], Size]  # the size of the network in a file
    build: Callable[[Size], ImageNetwork]  # the network of a size, randomly initialised
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # a file's tensors, by the network's names
    unused: Callable[[str], bool]  # whether a file's tensor of this name is known and wanted nowhere
    clip_spec: Callable[[Size], ClipSpec]  # the input its authors evaluate with

    def load(self, checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
        """The network with a file's weights, or randomly initialised from `seed`: the default size, or the one named.

        Raises:
            CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
        """
        if checkpoint is None:
            name = variant or next(iter(self.sizes))
            size = self.sizes[name]
            image = seeded(partial(self.build, size), seed)
            return self._backbone(image, size, name, random_source(image, seed))
        tensors = without_prefixes(checkpoint.tensors)
        unused = [name for name in tensors if self.unused(name)]
        wanted = {name: tensor for name, tensor in tensors.items() if not self.unused(name)}
        size = self.tell(SizeTeller(tensors, checkpoint.path))
        found = next((name for name, known in self.sizes.items() if known == size), f"{size.width}x{size.depth}")
        if variant not in (None, found):
            raise CheckpointMismatchError(
                f"{checkpoint.path} holds {self.name}:{found}, not the {self.name}:{variant} asked for"
            )
        image = unfilled(partial(self.build, size))
        report = load_strictly(image, self.convert(wanted), checkpoint.path, format=checkpoint.format, unused=unused)
        weights = WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)
        return self._backbone(image, size, found, weights)

    def _backbone(self, image: ImageNetwork, size: Size, variant: str, weights: WeightSource) -> Backbone:
        network, spec = FrameAverage(image), self.clip_spec(size)
        return AdaptedBackbone(
            network=network,
            family=self.name,
            variant=variant,
            embed_dim=size.embed_dim,
            clip_spec=spec,
            weights=weights,
            tokens=network.tokens,
            layer_of=network.layer_of,
            adaptations=partial(_adaptations, f"{self.name}:{variant}", size, spec.crop),
        )


def _adaptations(name: str, size: ImageSize, own_crop: int, clip: ClipSpec) -> tuple[str, ...]:
    """What the network `name` changes to take `clip`, where `own_crop` is what its authors evaluate with."""
    if clip.crop % size.patch_size:
        raise BackboneError(
            f"backbone {name} takes crops that are a multiple of {size.patch_size} pixels, not {clip.crop}:"
            f" set the crop to {max(clip.crop // size.patch_size, 1) * size.patch_size}"
        )
    side = clip.crop // size.patch_size
    if clip.crop == own_crop or side == size.grid or not size.grid:
        return ()
    return (f"position table {size.grid} x {size.grid} resampled to {side} x {side}, {size.resampling}",)
