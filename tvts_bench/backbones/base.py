"""What every backbone is: a module from normalised clips to one vector each, and what is known of its weights."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.layout import Layout
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import Checkpoint, LoadReport
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
    the autocast that is on, and returns one embedding a clip, [B, embed_dim]: the vector its authors evaluate frozen.
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


class BackbonePlugin(Protocol):
    """What a module in `backbones/` provides."""

    VARIANTS: tuple[str, ...]  # names a user may ask for, the default first; with OPEN_VARIANTS = True others, too
    CARD: FamilyCard

    def recognises(self, layout: Layout) -> bool:
        """Whether a checkpoint with tensors of these names and shapes is of this family."""
        ...

    def load(self, checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
        """The backbone with the checkpoint's weights (strictly), or randomly initialised from `seed` without one."""
        ...


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


def as_embedding(output: object, backbone: Backbone, batch: int) -> Tensor:
    """`output` if it is the promised [B, embed_dim] tensor; a user's own module may return anything.

    Raises:
        BackboneError: another type or shape, with what it was.
    """
    expected = (batch, backbone.embed_dim)
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise BackboneError(f"backbone {backbone.family} returned {got}, expected a tensor of shape {expected}")
    return output
