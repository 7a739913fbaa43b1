"""Anyone's own network as a backbone, without a plug-in: a module, its input, and a name."""

import torch
from torch import Tensor, nn

from tvts_bench.backbones.base import Backbone, BackboneError, WeightSource, tensors_sha256
from tvts_bench.video.spec import ClipSpec


def as_backbone(module: nn.Module, name: str, clip_spec: ClipSpec | None = None) -> Backbone:
    """`module` as `evaluate` takes it.

        as_backbone(torchvision.models.video.r3d_18(weights="DEFAULT"), "r3d_18", ClipSpec(crop=112, short_side=128))

    Args:
        module: from clips [B, 3, T, H, W], normalised as `clip_spec` says, to embeddings [B, D]; held, not copied. Its
            methods `tokens(clips)` ([B, N, D], for attentive probes) and `layer_of(name)` (for layer-wise learning
            rates, by its own names) are used where it has them.
        name: says in every result what this is; another architecture with the same weights needs another name.
        clip_spec: its input; 16 frames of 224 x 224 by default.

    Raises:
        BackboneError: the module returns something else for a clip of zeros.
    """
    return _Own(module, name, clip_spec or ClipSpec())


class _Own(Backbone):
    family = "own"

    def __init__(self, module: nn.Module, name: str, clip_spec: ClipSpec) -> None:
        super().__init__()
        self.module = module
        self.variant = name
        self.clip_spec = clip_spec
        self.embed_dim = _embed_dim(module, clip_spec)
        self.weights = WeightSource(name=f"{name}, as handed over", sha256=tensors_sha256(module))

    def forward(self, clips: Tensor) -> Tensor:
        """What the module returns, [B, embed_dim]."""
        return self.module(clips)  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """The module's own `tokens`, where it has that method."""
        own = getattr(self.module, "tokens", None)
        return own(clips) if callable(own) else super().tokens(clips)

    def layer_of(self, name: str) -> int:
        """The module's own `layer_of`, where it has that method, with its own names."""
        own = getattr(self.module, "layer_of", None)
        return own(name.removeprefix("module.")) if callable(own) else super().layer_of(name)


def _embed_dim(module: nn.Module, spec: ClipSpec) -> int:
    """D, from one clip of zeros."""
    device = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    clip = torch.zeros(1, 3, spec.num_frames, spec.crop, spec.crop, device=device)
    training = module.training
    module.eval()  # one clip is too few for batch normalisation in training
    try:
        with torch.inference_mode():
            output = module(clip)
    finally:
        module.train(training)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1 or not output.is_floating_point():
        got = f"{list(output.shape)} ({output.dtype})" if isinstance(output, Tensor) else type(output).__name__
        raise BackboneError(f"{type(module).__name__} returned {got} for clips {list(clip.shape)}, expected [1, D]")
    return output.shape[1]
