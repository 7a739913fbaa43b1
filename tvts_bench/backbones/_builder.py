"""From a family's declaration, and a file or a seed, to a backbone: what every family would else do by itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from tvts_bench.backbones._conversion.folder import FolderConfig, built_as_described
from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.backbones.base import Backbone, BackboneError, NetworkBackbone, WeightSource, tensors_sha256
from tvts_bench.backbones.base import from_transformers as from_transformers
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.backbones.model_cards import ModelCard
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from tvts_bench.models.state_dict import (
    WRAPPERS,
    Network,
    build_for,
    load_strictly,
    renamed,
    replaced,
    seeded,
    without_prefixes,
)
from tvts_bench.models.video_network import VideoNetworkError
from tvts_bench.video.spec import ClipSpec

Tensors = Mapping[str, Tensor]
RESIZED_AS_CROPPED: Mapping[int, int] = {}  # pixels: the short side is the crop's


C = TypeVar("C")  # the shape of a network


def square_clip(config: Any, *, short_sides: Mapping[int, int] = RESIZED_AS_CROPPED, **changes: Any) -> ClipSpec:
    """Frames of equal segments, as large as the network is made for.

    Args:
        config: of the network; has `num_frames` and `image_size`.
        short_sides: pixels that the short side is resized to, by those of the crop, where they differ.
        changes: fields of `ClipSpec` that are otherwise.
    """
    crop = changes.get("crop", config.image_size)
    return ClipSpec(
        **{"num_frames": config.num_frames, "short_side": short_sides.get(crop, crop), "crop": crop, **changes}
    )


@dataclass(frozen=True, kw_only=True)
class Family(Generic[C]):
    """A family of backbones, declared: how a file is told, converted, built, filled and fed.

    A shape is a frozen dataclass; equal ones are one variant. Where there is no `wrap`, it has `embed_dim`; `label`,
    what a size without a name is called ("768x12"); and `adaptations(frames, pixels)`, a sentence for each thing that
    the network changes for such clips (VideoNetworkError: it cannot take them). Of the network, `tokens` and `layer_of`
    are used where it has them.
    """

    name: str  # the plug-in's
    card: ModelCard  # what is known of it, in words
    sizes: Mapping[str, C]  # by variant, the default first
    matches: Callable[[CheckpointSignature], bool]  # whether a file is of this family; better no than a wrong yes
    infer_config: Callable[[ConfigReader], C]  # the shape of the network in a file, by its names without `prefix`
    build: Callable[[C], nn.Module]  # the network of a shape, randomly initialised
    names: tuple[tuple[str, str], ...] = ()  # parts of a file's names -> the network's, in the order to replace them
    convert: Callable[[Tensors], dict[str, Tensor]] = dict  # a file's tensors, so renamed, by the network's names
    inside: str = ""  # prefix of all the network's names, where what is converted is a part of it
    clip_spec: Callable[[C], ClipSpec] = square_clip  # the input its authors evaluate with
    wrappers: tuple[str, ...] = WRAPPERS  # taken off where all names of a file have it
    prefix: str = ""  # of the encoder's names, in files that hold more
    beside: tuple[str, ...] = ()  # prefixes of the known parts beside the encoder, wanted nowhere
    ignore: str | Callable[[C], str] = r"head\."  # matches known names without `prefix` that are wanted nowhere, either
    ignored_as: Callable[[str], str] = str  # what the report calls a name that is ignored
    variant_of: Callable[[Mapping[str, C], C], str | None] | None = None  # name of a shape; None: equal ones have one
    other_layouts: tuple["Family[Any]", ...] = ()  # the same family's files of other names, told by their variants
    shipped: Mapping[str, Path] = field(default_factory=dict)  # variants that are files of ours
    format: Callable[[Checkpoint], str] = attrgetter("format")  # what kind of file it is, for the report
    notes: Callable[[Tensors, Path], tuple[str, ...]] = lambda tensors, source: ()  # what results say of its weights
    from_folder: Callable[[Checkpoint, C], tuple[FolderConfig, C] | None] = lambda checkpoint, config: None
    """What the config.json beside the weights says of the network, and its shape with what tensors cannot tell."""
    identity: Callable[[C], object] = lambda config: config  # what of a shape makes other features of equal tensors
    random: Callable[[C, int], tuple[nn.Module, WeightSource]] | None = None  # in place of torch's from a seed
    fill: Callable[[C, Checkpoint], tuple[nn.Module, WeightSource]] | None = None  # a library's way to load a file
    wrap: Callable[[Any, str, WeightSource], Backbone] | None = None  # the network, in place of `NetworkBackbone`
    open_variants: Callable[[str], C] | None = None  # the shape of a variant that `sizes` does not list, of a library
    fallback: bool = False  # whether a family that knows the architecture itself comes before this one

    @property
    def variants(self) -> tuple[str, ...]:
        """Names a user may ask for, the default first."""
        return (*self.sizes, *(name for layout in self.other_layouts for name in layout.sizes), *self.shipped)

    def load(self, checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
        """The network with a file's weights, or randomly initialised: the default size, or the one named.

        Args:
            checkpoint: the file; None: random weights.
            variant: one of `variants`; None: the default without a file, else whichever the file holds.
            seed: of random weights.

        Raises:
            CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
            BackboneError: a library that has the network is missing or too old.
        """
        for layout in self.other_layouts:
            if variant in layout.sizes:
                return layout.load(checkpoint, variant, seed)
        if variant is not None and variant in self.shipped:
            return self._shipped(checkpoint, variant)
        if checkpoint is not None:
            return self._from_file(checkpoint, variant)
        name = variant or next(iter(self.sizes))
        config = self.open_variants(name) if self.open_variants else self.sizes[name]
        if self.random is not None:
            network, weights = self.random(config, seed)
        else:
            network, weights = random_weights(partial(self.build, config), seed)
        return self._backbone(network, config, name, weights)

    def _shipped(self, checkpoint: Checkpoint | None, variant: str) -> Backbone:
        if checkpoint is not None:
            raise CheckpointError(
                f"{self.name}:{variant} is a shipped file; to load {checkpoint.path} name a size, or none"
            )
        backbone = self._from_file(read_checkpoint(self.shipped[variant]), None)
        backbone.variant = variant  # tables and file names tell the shipped files apart by it
        return backbone

    def _from_file(self, checkpoint: Checkpoint, variant: str | None) -> Backbone:
        path, tensors = checkpoint.path, without_prefixes(checkpoint.tensors, self.wrappers)
        try:
            config = self.infer_config(ConfigReader(tensors, checkpoint, variant).inside(self.prefix))
        except VideoNetworkError as error:
            raise CheckpointError(f"{path} holds no network of {self.name}: {error}") from error
        name = self._name(config)
        if variant not in (None, name):
            raise CheckpointError(f"{path} holds {self.name}:{name}, not the {self.name}:{variant} asked for")
        if self.fill is not None:
            network, weights = self.fill(config, checkpoint)
            return self._backbone(network, config, name, weights)
        ignored = self._ignored(tensors, config)
        wanted = {each: tensor for each, tensor in tensors.items() if each not in ignored}
        described = self.from_folder(checkpoint, config)
        clip = None
        if described is not None:
            folder, stated = described
            checkpoint = built_as_described(checkpoint, self.identity(stated), self.identity(config))
            clip, config = folder.clip_spec(self.clip_spec(stated)), stated
        network, weights = loaded_weights(
            partial(self.build, config),
            self.converted(wanted),
            checkpoint,
            format=self.format(checkpoint),
            unused=tuple(map(self.ignored_as, ignored)),
        )
        weights = replace(weights, notes=self.notes(wanted, path))
        return self._backbone(network, config, name, weights, clip)

    def converted(self, tensors: Tensors) -> dict[str, Tensor]:
        """A file's `tensors`, those that are wanted, by the network's names; one outside `prefix` keeps its own."""
        prefix = self.prefix if any(name.startswith(self.prefix) for name in tensors) else ""
        inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        inner = self.convert(renamed(inner, lambda name: replaced(name, self.names)))
        ours = {f"{self.inside}{name}": tensor for name, tensor in inner.items()}
        outer = ((name, tensor) for name, tensor in tensors.items() if not name.startswith(prefix))
        return ours | {f"{name} (outside {prefix}*)" if name in ours else name: tensor for name, tensor in outer}

    def _name(self, config: Any) -> str:
        if self.variant_of is not None:
            return self.variant_of(self.sizes, config) or config.label
        return next((name for name, known in self.sizes.items() if known == config), None) or config.label

    def _ignored(self, tensors: Tensors, config: C) -> dict[str, None]:
        """Names of the file's known parts that are wanted nowhere, in its order."""
        pattern = re.compile(self.ignore if isinstance(self.ignore, str) else self.ignore(config))

        def ignored(name: str) -> bool:
            outside = bool(self.prefix) and not name.startswith(self.prefix) and name.startswith(self.beside)
            return outside or pattern.match(name.removeprefix(self.prefix)) is not None

        return dict.fromkeys(filter(ignored, tensors))

    def _backbone(
        self, network: nn.Module, config: Any, variant: str, weights: WeightSource, clip: ClipSpec | None = None
    ) -> Backbone:
        if self.wrap is not None:
            return self.wrap(network, variant, weights)
        return NetworkBackbone(
            network=network,
            family=self.name,
            variant=variant,
            embed_dim=config.embed_dim,
            clip_spec=clip or self.clip_spec(config),
            weights=weights,
            tokens=getattr(network, "tokens", None),
            layer_of=getattr(network, "layer_of", None),
            adaptations=partial(adaptations, config, f"{self.name}:{variant}"),
        )


@dataclass(frozen=True, kw_only=True)
class OpenFamily:
    """A family that loads itself, with the builder's parts or without them."""

    variants: tuple[str, ...]  # the default first
    card: ModelCard
    matches: Callable[[CheckpointSignature], bool]
    load: Callable[[Checkpoint | None, str | None, int], Backbone]
    open_variants: bool = False  # whether other variants may be named than are listed
    fallback: bool = False  # whether a family that knows the architecture itself comes before this one


def adaptations(config: Any, name: str, clip: ClipSpec) -> tuple[str, ...]:
    """What the network of the backbone `name` (family:variant) changes to take `clip`, as its configuration says.

    Raises:
        BackboneError: it cannot take such clips.
    """
    try:
        return tuple(config.adaptations(clip.num_frames, clip.crop))
    except VideoNetworkError as error:
        text, subject = str(error), f"backbone {name}"
        raise BackboneError(f"{subject} {text[3:]}" if text.startswith("it ") else f"{subject}: {text}") from error


def random_weights(build: Callable[[], Network], seed: int) -> tuple[Network, WeightSource]:
    """The random-weights baseline: `seeded`, and its record, hashed, since libraries may change how they initialise."""
    network = seeded(build, seed)
    return network, WeightSource(name=f"random init (seed {seed})", sha256=tensors_sha256(network))


def loaded_weights(
    build: Callable[[], Network], tensors: Tensors, checkpoint: Checkpoint, *, format: str, unused: Sequence[str] = ()
) -> tuple[Network, WeightSource]:
    """What `build` makes, with `tensors` in it, all of them, and the record of where they are from.

    Args:
        build: makes the network.
        tensors: of the file, by the network's names.
        checkpoint: the file.
        format: what kind of file it is, for the report.
        unused: names of the file that are known and wanted nowhere.

    Raises:
        CheckpointError: they do not fit, by name or shape.
    """
    network = build_for(build, tensors, checkpoint.path)
    report = load_strictly(network, tensors, checkpoint.path, format=format, unused=unused)
    return network, WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)
