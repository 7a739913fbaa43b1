"""What every backbone is: a module from normalised clips to one vector each, and what is known of its weights."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from tvts_bench.errors import UserError
from tvts_bench.models.state_dict import LoadReport
from tvts_bench.video.spec import ClipSpec

logger = logging.getLogger(__name__)


class BackboneError(UserError):
    """A backbone that cannot be built or fed as asked."""


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """Which weights a backbone was given; in every result. What it holds now is said by `tensors_sha256`."""

    name: str  # a file's name, "random init (seed 0)", or "no weights"
    sha256: str  # of the file, or a digest of what made the weights
    report: LoadReport | None = None  # which tensors of a file were used; None where there is no file
    files: Mapping[str, str] = field(default_factory=dict)  # sha256 of each file, where `sha256` is of several
    notes: tuple[str, ...] = ()  # what every result should say of them, a sentence each


class Backbone(nn.Module):
    """The contract of all backbones.

    `forward` takes clips [B, 3, T, H, W], already normalised with `clip_spec.mean` and `clip_spec.std`, in the dtype of
    the autocast that is on, and returns one embedding per clip, [B, embed_dim]: the vector its authors evaluate frozen.
    """

    family: str  # the plug-in's name
    variant: str  # its size or flavour: "base"
    embed_dim: int
    clip_spec: ClipSpec  # the input its authors evaluate with
    weights: WeightSource

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, embed_dim] of clips [B, 3, T, H, W]."""
        raise NotImplementedError

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, embed_dim] for attentive probes; a backbone without any refuses."""
        raise BackboneError(f"backbone {self.family} has no patch tokens")

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name` for layer-wise learning-rate decay: 0 for the stem, then 1 a block."""
        raise BackboneError(f"backbone {self.family} has no layers to decay")

    def adaptations(self, clip: ClipSpec) -> tuple[str, ...]:
        """What the network changes of itself to take `clip` instead of the clip its weights were trained with.

        A sentence each ("position table 14 x 14 resampled to 4 x 4, bicubic"); results carry them as notes.

        Raises:
            BackboneError: it cannot take such clips, with the way out.
        """
        return ()


class NetworkBackbone(Backbone):
    """`network` under the contract of `Backbone`; what a hook is not given for stays as the base class has it."""

    def __init__(
        self,
        *,
        network: nn.Module,
        family: str,
        variant: str,
        embed_dim: int,
        clip_spec: ClipSpec,
        weights: WeightSource,
        tokens: Callable[[Tensor], Tensor] | None = None,
        layer_of: Callable[[str], int] | None = None,
        adaptations: Callable[[ClipSpec], tuple[str, ...]] | None = None,
    ) -> None:
        """Holds, copies nothing.

        Args:
            network: clips [B, 3, T, H, W] to embeddings [B, embed_dim].
            family: the plug-in's name.
            variant: the size or flavour.
            embed_dim: D.
            clip_spec: the input its authors evaluate with.
            weights: where they come from.
            tokens: clips to patch tokens [B, N, D]; a method of `network`, so that a copy of the backbone has its own.
            layer_of: depth of a parameter by its name in `network`.
            adaptations: what the network does to fit a clip other than `clip_spec`, a sentence each.
        """
        super().__init__()
        self.network = network
        self.family, self.variant = family, variant
        self.embed_dim, self.clip_spec, self.weights = embed_dim, clip_spec, weights
        self._tokens, self._layer_of, self._adaptations = tokens, layer_of, adaptations

    def forward(self, clips: Tensor) -> Tensor:
        """What the network returns, [B, embed_dim]."""
        return self.network(clips)  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, embed_dim], where the network has them."""
        return super().tokens(clips) if self._tokens is None else self._tokens(clips)

    def layer_of(self, name: str) -> int:
        """Depth of the backbone's parameter `name`, where the network's layers are known."""
        return super().layer_of(name) if self._layer_of is None else self._layer_of(name.removeprefix("network."))

    def adaptations(self, clip: ClipSpec) -> tuple[str, ...]:
        """What the network changes to take `clip`."""
        return super().adaptations(clip) if self._adaptations is None else self._adaptations(clip)


def from_transformers(name: str) -> Any:
    """The class `name` of the transformers library, imported only where it is wanted: its import takes seconds.

    Raises:
        BackboneError: the library is not installed, or has no such class; with the command that helps.
    """
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise BackboneError(
            f"this network needs the library transformers, which cannot be imported ({error}): pip install transformers"
        ) from error
    if not hasattr(library, name):
        raise BackboneError(f"transformers {library.__version__} has no {name}: pip install --upgrade transformers")
    return getattr(library, name)


def tensors_sha256(module: nn.Module) -> str:
    """sha256 (hex) over the names, types, shapes and values of all parameters and buffers; 0.2 s for a base encoder.

    A file's hash does not change when the module that was loaded from it is trained further; this does.
    """
    state = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor):  # modules may keep other things beside their tensors
            state.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def adaptation_notes(backbone: Backbone, clip: ClipSpec) -> tuple[str, ...]:
    """What the backbone changes of itself to take `clip`, and what is to be said of its weights; also logged.

    Each sentence has the backbone's name in front.

    Raises:
        BackboneError: it cannot take such clips, with the way out.
    """
    changes = (*backbone.weights.notes, *backbone.adaptations(clip))
    notes = tuple(f"{backbone.family}:{backbone.variant}: {change}" for change in changes)
    for note in notes:
        logger.warning("%s", note)
    return notes


def cost_of(backbone: Backbone, clip: ClipSpec) -> dict[str, Any]:
    """What a backbone takes, counted without computing anything: for the record of a run, never part of its key.

    Args:
        backbone: on any device; it is not changed.
        clip: its input.

    Returns:
        `parameters` (of the module as it is measured), and `gmacs_per_clip`: 1e9 multiply-adds of matrix products and
        convolutions for all views of one clip, None where the network does not run on shapes alone.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "gmacs_per_clip": _gmacs(backbone, clip),
    }


def _gmacs(backbone: Backbone, clip: ClipSpec) -> float | None:
    """Counted in a forward pass on the meta device, whose tensors have shapes and no values."""
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    tensors = (*backbone.named_parameters(), *backbone.named_buffers())
    on_meta = {name: tensor.detach().to("meta") for name, tensor in tensors}
    clips = torch.empty(1, 3, clip.num_frames, clip.crop, clip.crop, device="meta")
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            functional_call(backbone, on_meta, (clips,))
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:  # a network may look at values
        logger.info("multiply-adds of %s are not counted: %s", backbone.family, error)
        return None
    finally:
        backbone.train(training)
    return float(counter.get_total_flops() / 2e9 * clip.num_views)


def as_embedding(output: object, backbone: Backbone, batch: int) -> Tensor:
    """`output` if it is the promised [B, embed_dim] tensor; a user's own module may return anything.

    Args:
        output: of the backbone's `forward`.
        backbone: that returned it; its `embed_dim` is D.
        batch: clips that it was given, B.

    Raises:
        BackboneError: another type or shape, with what it was.
    """
    expected = (batch, backbone.embed_dim)
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise BackboneError(f"backbone {backbone.family} returned {got}, expected a tensor of shape {expected}")
    return output


def dry_forward(network: nn.Module, clip: ClipSpec, call: Callable[[Tensor], object] | None = None) -> object:
    """What `network` returns for one clip of zeros, [1, 3, T, H, W], on the device that it is on.

    Args:
        network: whose device it is.
        clip: says T, H and W.
        call: a method of the network to try instead of its `forward`.
    """
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    with torch.inference_mode():
        output: object = (call or network)(torch.zeros(1, 3, clip.num_frames, clip.crop, clip.crop, device=device))
    return output


def refuse_failing(network: nn.Module, name: str, clip: ClipSpec) -> None:
    """Nothing, where `network` takes such a clip.

    Args:
        network: takes clips [B, 3, T, H, W].
        name: family:variant.
        clip: says T, H and W.

    Raises:
        BackboneError: it does not; with what it says, and the way out.
    """
    try:
        dry_forward(network, clip)
    except Exception as error:
        raise BackboneError(
            f"backbone {name} cannot take clips of {clip.num_frames} frames of {clip.crop} x {clip.crop} pixels"
            f" ({first_line(error)}): leave its own input as it is"
        ) from error


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class TokenBackbone(Backbone):
    """`backbone` with `forward` returning all patch tokens of a clip, one behind the other: [B, tokens * D]."""

    def __init__(self, backbone: Backbone, clip: ClipSpec) -> None:
        """Tries one clip of zeros to see how many tokens there are.

        Raises:
            BackboneError: the backbone has no tokens, or returns something else.
        """
        super().__init__()
        self.backbone = backbone
        self.family, self.variant = backbone.family, f"{backbone.variant}-tokens"
        self.clip_spec, self.weights = backbone.clip_spec, backbone.weights
        tokens = dry_forward(backbone, clip, backbone.tokens)
        if not isinstance(tokens, Tensor) or tokens.ndim != 3 or tokens.shape[2] != backbone.embed_dim:
            got = list(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
            raise BackboneError(
                f"backbone {backbone.family} returned tokens {got} for one clip,"
                f" expected [1, tokens, {backbone.embed_dim}]"
            )
        self.num_tokens = tokens.shape[1]
        self.embed_dim = self.num_tokens * backbone.embed_dim

    def forward(self, clips: Tensor) -> Tensor:
        """[B, tokens * D], token after token, of clips [B, 3, T, H, W]."""
        return self.backbone.tokens(clips).flatten(1)

    def adaptations(self, clip: ClipSpec) -> tuple[str, ...]:
        """Those of the backbone."""
        return self.backbone.adaptations(clip)
