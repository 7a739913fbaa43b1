"""A network from a library or of our own as a backbone, where a subclass would only store fields."""

from collections.abc import Callable

from torch import Tensor, nn

from tvts_bench.backbones.base import Backbone, WeightSource
from tvts_bench.video.spec import ClipSpec


class AdaptedBackbone(Backbone):
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
