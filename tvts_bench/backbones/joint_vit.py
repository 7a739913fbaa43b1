"""What the families share that are a joint space-time ViT: a size told from a file, the backbone around the network."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from tvts_bench.backbones.adapted import AdaptedBackbone
from tvts_bench.backbones.base import BackboneError, WeightSource
from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.recognition import description
from tvts_bench.backbones.seeded import random_source, seeded, unfilled
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, load_strictly
from tvts_bench.models.joint_vit import JointViT, JointViTConfig, JointViTError
from tvts_bench.video.spec import ClipSpec

Sizes = Mapping[str, JointViTConfig]
HEAD_DIM = 64  # of attention, where a size has no name that says otherwise
PATCHES = "patch_embed.proj.weight"  # [D, 3, frames, rows, columns]
TABLE = "pos_embed"  # [1, N, D]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The part of a file that is wanted, by the names of `JointViT`."""

    tensors: Mapping[str, Tensor]
    format: str  # what kind of file it was
    unused: tuple[str, ...] = ()  # names of known other parts
    notes: tuple[str, ...] = ()  # what every result should say of these weights
    clip: ClipSpec | None = None  # the input that the folder describes; None: as the family's authors evaluate


@dataclass(frozen=True, kw_only=True)
class JointFamily:
    """What tells one family from another."""

    name: str  # of the plug-in
    sizes: Sizes  # by variant, the default first
    clip: Callable[[JointViTConfig], ClipSpec]  # the input its authors evaluate with

    def random(self, variant: str | None, seed: int) -> AdaptedBackbone:
        """The network never trained: weights as timm's ViT has them at the start, fixed sinusoids for positions."""
        variant = variant or next(iter(self.sizes))
        network = seeded(partial(JointViT, self.sizes[variant]), seed)
        return self._backbone(network, variant, random_source(network, seed))

    def loaded(self, checkpoint: Checkpoint, encoder: Encoder, variant: str, config: JointViTConfig) -> AdaptedBackbone:
        """The network of that shape with the encoder's tensors, all of them.

        Raises:
            CheckpointMismatchError: they do not fit.
        """
        network = unfilled(partial(JointViT, config), encoder.tensors, checkpoint.path)
        report = load_strictly(network, encoder.tensors, checkpoint.path, format=encoder.format, unused=encoder.unused)
        source = WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)
        return self._backbone(network, variant, replace(source, notes=encoder.notes), encoder.clip)

    def _backbone(
        self, network: JointViT, variant: str, weights: WeightSource, clip: ClipSpec | None = None
    ) -> AdaptedBackbone:
        config = network.config

        def adaptations(clip: ClipSpec) -> tuple[str, ...]:
            try:
                changed = config.adaptation(clip.num_frames, clip.crop)
            except JointViTError as error:
                raise BackboneError(f"backbone {self.name}:{variant}: {error}") from error
            return () if changed is None else (changed,)

        return AdaptedBackbone(
            network=network,
            family=self.name,
            variant=variant,
            embed_dim=config.embed_dim,
            clip_spec=clip or self.clip(config),
            weights=weights,
            tokens=network.tokens,
            layer_of=network.layer_of,
            adaptations=adaptations,
        )


def told(tensors: Mapping[str, Tensor], sizes: Sizes, source: Path) -> tuple[str, JointViTConfig]:
    """Name and shape of the network whose tensors these are; what is odd is left for strict loading to refuse.

    Args:
        tensors: by the names of `JointViT`.
        sizes: those with a name; another one is called "<width>x<depth>".
        source: the file, for messages.

    Raises:
        CheckpointMismatchError: no block, or a width whose number of attention heads cannot be known.
    """
    depth = SizeTeller(tensors, source).depth("blocks.")
    width = _length(tensors, "patch_embed.proj.bias") or _length(tensors, "blocks.0.norm1.weight")
    if not depth or not width:
        raise CheckpointMismatchError(f"{source} holds no encoder with patches and blocks: {description(tensors)}")
    default = next(iter(sizes.values()))
    kernel = tensors.get(PATCHES)
    patch = kernel.shape[-1] if kernel is not None and kernel.ndim == 5 else default.patch_size
    table = tensors.get(TABLE)
    places = table.shape[1] if table is not None and table.ndim == 3 else None
    close = [(name, s) for name, s in sizes.items() if (s.embed_dim, s.depth, s.patch_size) == (width, depth, patch)]
    if close:
        name, size = next(((name, s) for name, s in close if places == math.prod(s.grid)), close[0])
        return name, _with_table(size, places)
    if width % HEAD_DIM or not patch:
        raise CheckpointMismatchError(
            f"{source} holds a network of width {width}, {depth} blocks and patches of {patch} pixels, which is none"
            f" of: {', '.join(sizes)}; of others the attention heads are known only if the width is a multiple of"
            f" {HEAD_DIM}"
        )
    image_sizes = {size.patch_size: size.image_size for size in sizes.values()}
    other = replace(
        default,
        embed_dim=width,
        depth=depth,
        num_heads=width // HEAD_DIM,
        mlp_dim=_length(tensors, "blocks.0.mlp.fc1.bias") or 4 * width,
        patch_size=patch,
        image_size=image_sizes.get(patch, 14 * patch),
    )
    return f"{width}x{depth}", _with_table(other, places)


def refuse_another(family: str, found: str, asked: str | None, source: Path) -> None:
    """Nothing where the file holds the variant that was asked for, or none was.

    Raises:
        CheckpointMismatchError: it holds another one.
    """
    if asked not in (None, found):
        raise CheckpointMismatchError(f"{source} holds {family}:{found}, not the {family}:{asked} asked for")


def _with_table(config: JointViTConfig, places: int | None) -> JointViTConfig:
    """`config` for clips of as many tokens as a file's table of positions has; as it is without one.

    Frames doubled up to 8 times, then images up to twice as wide: that gives one answer for every official file
    (32 frames of 336 pixels have as many tokens as 8 of 672). If none fits, strict loading refuses.
    """
    if places is None or config.resampling == "recomputed":
        return config
    config = replace(config, positions="stored")
    t, rows, columns = config.grid
    for factor in (1, 2, 4, 8):
        if places == factor * t * rows * columns:
            return replace(config, num_frames=factor * config.num_frames)
    for factor in (1, 2, 4, 8):
        side = math.isqrt(places // (factor * t))
        if places == factor * t * side**2 and rows < side < 2 * rows:
            return replace(config, num_frames=factor * config.num_frames, image_size=side * config.patch_size)
    return config


def _length(tensors: Mapping[str, Tensor], name: str) -> int:
    """Entries of a vector; 0 where there is none of that name."""
    tensor = tensors.get(name)
    return len(tensor) if tensor is not None and tensor.ndim == 1 else 0
