"""A backbone's patch tokens in the place of its embedding, so that they are extracted and kept as any features are."""

import torch
from torch import Tensor

from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.video.spec import ClipSpec


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
        self.num_tokens = _num_tokens(backbone, clip)
        self.embed_dim = self.num_tokens * backbone.embed_dim

    def forward(self, clips: Tensor) -> Tensor:
        """[B, tokens * D], token after token, of clips [B, 3, T, H, W]."""
        return self.backbone.tokens(clips).flatten(1)

    def adaptations(self, clip: ClipSpec) -> tuple[str, ...]:
        """Those of the backbone."""
        return self.backbone.adaptations(clip)


def _num_tokens(backbone: Backbone, clip: ClipSpec) -> int:
    device = next((tensor.device for tensor in backbone.state_dict().values()), torch.device("cpu"))
    zeros = torch.zeros(1, 3, clip.num_frames, clip.crop, clip.crop, device=device)
    with torch.inference_mode():
        tokens = backbone.tokens(zeros)
    if tokens.ndim != 3 or tokens.shape[2] != backbone.embed_dim:
        raise BackboneError(
            f"backbone {backbone.family} returned tokens {list(tokens.shape)} for one clip,"
            f" expected [1, tokens, {backbone.embed_dim}]"
        )
    return tokens.shape[1]
