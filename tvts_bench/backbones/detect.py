"""Which families there are, and which one a file of weights is of: told from its tensors' names and shapes."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self, cast

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.model_cards import ModelCard
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.state_dict import listed, without_prefixes

logger = logging.getLogger(__name__)

MEMBERS = ("variants", "card", "matches", "load")  # of every family
NEAREST = 3  # families named for a file that is of none
# Parts of tensor names that only one kind of network has, the most telling first.
TRACES = (
    ("timeattn.", "a network with divided space-time attention (Frozen, MILES or TVTSv2)"),
    ("temporal_attn.", "a TimeSformer"),
    ("encoder_to_decoder.", "a VideoMAE, pretrained"),
    ("attn.q_bias", "a VideoMAE, fine-tuned"),
    ("decoder_blocks.", "an image MAE, pretrained"),
    ("visual.transformer.resblocks.", "a CLIP"),
    ("vision_model.", "a vision-language model of the transformers library"),
    ("transformer.layer.", "a text model"),
    ("layer1.0.conv1.", "a ResNet"),
    ("s1.pathway", "a SlowFast network"),
    ("blocks.0.attn.qkv.", "a vision transformer"),
)


@dataclass(frozen=True, kw_only=True)
class CheckpointSignature:
    """Names and shapes of a file's tensors, and the key of the file that held them."""

    container: str | None  # "state_dict", "model", "teacher", ...; None where the tensors lay bare
    shapes: Mapping[str, tuple[int, ...]]  # by name, without `module.` and `_orig_mod.`
    config: Mapping[str, Any] | None = None  # config.json of a folder, which names the architecture

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """The signature of a file that was read."""
        tensors = without_prefixes(checkpoint.tensors)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return cls(container=checkpoint.container, shapes=shapes, config=checkpoint.config)

    def has(self, *names: str) -> bool:
        """Whether there is a tensor of each of these names."""
        return all(name in self.shapes for name in names)

    def starts(self, *prefixes: str) -> bool:
        """Whether any tensor's name starts with any of these."""
        return any(name.startswith(prefixes) for name in self.shapes)

    def under(self, prefix: str) -> Self:
        """The tensors whose names start with `prefix`, under the rest of their names."""
        shapes = {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}
        return replace(self, shapes=shapes)

    def encoder(self, prefix: str) -> Self:
        """The encoder's part of a file that may hold more: the names under `prefix`, or all where none is."""
        return self.under(prefix) if self.starts(prefix) else self

    def is_image_vit(self) -> bool:
        """Whether the tensors are those of timm's plain image transformer with [CLS] and nothing that others have."""
        patches = self.shapes.get("patch_embed.proj.weight", ())
        foreign = self.has("blocks.0.ls1.gamma") or self.has("temporal_embed") or self.has("time_embed")
        foreign |= self.starts("blocks.0.timeattn.", "blocks.0.temporal_attn.", "blocks.0.crossattn.")
        own = self.has("cls_token", "pos_embed", "blocks.0.attn.qkv.bias", "norm.weight")
        return own and len(patches) == 4 and not foreign


class BackboneFamily(Protocol):
    """What a module in `backbones/` provides as FAMILY. Most are a `Family` of `backbones._builder`.

    With `open_variants = True` other variants may be named than are listed; with `fallback = True` a family that knows
    the architecture itself comes before this one.
    """

    @property
    def variants(self) -> tuple[str, ...]:
        """Names a user may ask for, the default first."""
        ...

    @property
    def card(self) -> ModelCard:
        """What is known of it, in words."""
        ...

    def matches(self, signature: CheckpointSignature, /) -> bool:
        """Whether a checkpoint with tensors of these names and shapes is of this family."""
        ...

    def load(self, checkpoint: Checkpoint | None, variant: str | None, seed: int, /) -> Backbone:
        """The backbone with the checkpoint's weights (strictly), or randomly initialised from `seed` without one.

        Args:
            checkpoint: the file; None: random weights.
            variant: one of `variants`; None: the default without a file, else whichever the file holds.
            seed: of random weights.
        """
        ...


class Families(NamedTuple):
    """All that can be used, and why others cannot."""

    usable: dict[str, BackboneFamily]  # by name
    problems: tuple[str, ...]  # a sentence each


def family(name: str) -> BackboneFamily:
    """The family `name`.

    Raises:
        UserError: there is none of that name, or another package provides it, and it cannot be imported.
        BackboneError: a library that it needs is not installed, or it lacks what every family has.
    """
    try:
        plugin = registry.load("backbones", name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "tvts_bench"):
            raise
        raise BackboneError(
            f"backbone {name} needs the library {library}, which is not installed: pip install {library}"
        ) from error
    declared = getattr(plugin, "FAMILY", None)
    missing = [member for member in MEMBERS if not hasattr(declared, member)]
    if missing:
        what = "FAMILY" if declared is None else f"{', '.join(missing)} in its FAMILY"
        raise BackboneError(
            f"backbone {name} cannot be used: {getattr(plugin, '__name__', plugin)!s} has no {what}"
            " (CONTRIBUTING.md says what a family provides)"
        )
    return cast(BackboneFamily, declared)


def families() -> Families:
    """Every family that can be imported; one that cannot does not stand in the way of the others."""
    usable, problems = {}, list(registry.clashes("backbones"))
    for name in registry.names("backbones"):
        try:
            usable[name] = family(name)
        except UserError as error:
            if str(error) not in problems:
                problems.append(str(error))
    return Families(usable, tuple(problems))


def detect(checkpoint: Checkpoint) -> str:
    """Name of the one family that the file is of.

    Raises:
        CheckpointError: of none, with the nearest; or of several, with the way to choose.
    """
    usable, problems = families()
    for problem in problems:
        logger.warning("%s", problem)
    signature = CheckpointSignature.of(checkpoint)
    names = candidates(signature, usable)
    if len(names) == 1:
        return names[0]
    if names:
        raise CheckpointError(
            f"{checkpoint.path} may be of several backbones ({', '.join(names)}), whose tensors have the same names:"
            f" say which with --backbone {' or --backbone '.join(names)}"
        )
    near = nearest(signature.shapes, usable)
    raise CheckpointError(
        f"{checkpoint.path} is of no known backbone: {describe(signature.shapes)}; "
        + (f"nearest are {', '.join(near)}" if near else f"known are {', '.join(usable)}")
        + "; --backbone NAME says what of it does not fit"
    )


def candidates(signature: CheckpointSignature, usable: Mapping[str, BackboneFamily]) -> list[str]:
    """Names of the families that take a file of this signature for theirs."""
    matching = []
    for name, each in usable.items():
        try:
            if each.matches(signature):
                matching.append(name)
        except (Exception, SystemExit) as error:
            if registry.is_own("backbones", name):
                raise
            logger.warning("backbone %s of another package fails at this file (%r)", name, error)
    specific = [name for name in matching if not getattr(usable[name], "fallback", False)]
    return specific or matching


def nearest(names: Iterable[str], usable: Mapping[str, BackboneFamily]) -> list[str]:
    """Families of whose typical tensor names the file has at least half, the nearest first: "svt (3 of 4 names)"."""
    there = {_numberless(name) for name in names}
    shares = []
    for name, family_ in usable.items():
        typical = {_numberless(each) for each in family_.card.tensor_names}
        seen = sum(any(f".{other}".endswith(f".{each}") for other in there) for each in typical)
        if typical and 2 * seen >= len(typical):
            shares.append((seen / len(typical), f"{name} ({seen} of {len(typical)} typical names)"))
    return [clause for _, clause in sorted(shares, key=lambda share: -share[0])[:NEAREST]]


def looks_like(names: Iterable[str]) -> str | None:
    """What kind of network has tensors of these names, in words; None if nothing tells."""
    names = tuple(names)
    return next((kind for trace, kind in TRACES if any(trace in name for name in names)), None)


def describe(names: Iterable[str]) -> str:
    """A clause about a file that does not fit: what it looks like and how its tensors are called."""
    names = tuple(names)
    kind = looks_like(names)
    called = listed(names[:3]) + (" and so on" if len(names) > 3 else "")
    return f"{f'it looks like {kind}; ' if kind else ''}its tensors are called {called}"


def _numberless(name: str) -> str:
    """`name` with # for each number, so that all blocks are one."""
    return re.sub(r"\b\d+\b", "#", name)
