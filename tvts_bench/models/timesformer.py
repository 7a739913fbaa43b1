"""TimeSformer with divided space-time attention (Bertasius et al., ICML 2021), as SVT has it, too: transformers' class.

Its block is not Frozen's: attention along time leaves [CLS] out and goes through a linear layer, and attention in space
works on one copy of [CLS] a frame, averaged afterwards.
"""

from dataclasses import dataclass, field

from torch import Tensor

from tvts_bench.models.transformers_library import from_transformers
from tvts_bench.models.video_network import (
    NetworkConfig,
    VideoNetwork,
    VideoNetworkError,
    block_depth,
    check_clips,
    check_pixels,
)

LIBRARY = "timesformer."  # where the library's network is in ours


@dataclass(frozen=True, kw_only=True)
class TimeSformerConfig(NetworkConfig):
    """The shape of the network. The defaults are the official base size."""

    num_frames: int = field(default=8, compare=False)

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Which tables are resampled for `frames` frames of `pixels` x `pixels`."""
        check_pixels(pixels, pixels, self.patch_size)
        self.check_row(pixels)
        old, new, changes = self.grid, pixels // self.patch_size, []
        if new != old:
            changes.append(f"position table {old} x {old} resampled to {new} x {new}, nearest")
        if frames != self.num_frames:
            changes.append(f"{self.num_frames} temporal positions resampled to {frames}, nearest")
        return tuple(changes)

    def check_row(self, pixels: int) -> None:
        """Refuse frames of one patch a row, whose positions the official code and the library cannot resample.

        Raises:
            VideoNetworkError: with the way out.
        """
        if pixels < 2 * self.patch_size:
            raise VideoNetworkError(
                f"TimeSformer needs two patches a row, so a crop of {2 * self.patch_size} or more, got {pixels}"
            )


class TimeSformer(VideoNetwork):
    """transformers' network under our contract; positions are resampled to the nearest, as in the official code."""

    def __init__(self, size: TimeSformerConfig) -> None:
        """Randomly initialised.

        Raises:
            UserError: transformers is not there.
        """
        super().__init__()
        self.size = size
        config = from_transformers("TimesformerConfig")(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.num_heads,
            intermediate_size=size.mlp_dim,
            image_size=size.image_size,
            patch_size=size.patch_size,
            num_frames=size.num_frames,
            layer_norm_eps=1e-6,
        )
        self.timesformer = from_transformers("TimesformerModel")(config)

    def forward(self, clips: Tensor) -> Tensor:
        """[CLS] after the final norm, [B, D].

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        return self._encoded(clips)[:, 0]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens after the final norm, [B, T * N, D], time-major."""
        by_place: Tensor = self._encoded(clips)[:, 1:].unflatten(1, (-1, clips.shape[2]))  # [B, N, T, D]
        return by_place.transpose(1, 2).flatten(1, 2)

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`."""
        return block_depth(name, self.size.depth, f"{LIBRARY}encoder.layer.", (f"{LIBRARY}layernorm.",))

    def _encoded(self, clips: Tensor) -> Tensor:
        """All tokens after the final norm, [B, 1 + N * T, D]; the library goes through time fastest."""
        check_clips(clips, self.size.patch_size)
        self.size.check_row(clips.shape[4])
        config = self.timesformer.config  # its layers read the shape of the clip from here at each call
        config.num_frames, config.image_size = clips.shape[2], clips.shape[4]
        return self.timesformer(clips.transpose(1, 2)).last_hidden_state  # type: ignore[no-any-return]
