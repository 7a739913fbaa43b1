"""V-JEPA 2's encoder (Assran et al., 2025): joint attention with rotary positions; transformers' class.

The predictor, which only pretraining needs, is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.models.transformers_library import from_transformers
from tvts_bench.models.video_network import NetworkSize, VideoNetwork, VideoNetworkError, check_clips, check_pixels

RENAMED = (  # parts of official names -> the library's, in the order to replace them
    ("norm.", "layernorm."),  # the final one; those of blocks have numbers
    ("patch_embed.proj.", "embeddings.patch_embeddings.proj."),
    ("blocks.", "layer."),
    (".attn.proj.", ".attention.proj."),
    (".attn.qkv.", ".attention.qkv."),
)
LIBRARY = "encoder."  # where the library's network is in ours


@dataclass(frozen=True, kw_only=True)
class VJEPA2Size(NetworkSize):
    """The shape of the network. Neither frames nor pixels bind it: rotary positions have no table."""

    tubelet: int = 2  # frames that share a token

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Nothing for any clip that is taken: rotary positions follow the clip."""
        self.check(frames, pixels, pixels)
        return ()

    def check(self, frames: int, height: int, width: int) -> None:
        """Refuse what are no whole tubelets of square frames.

        Raises:
            VideoNetworkError: with what it is, and the way out.
        """
        check_pixels(height, width, self.patch_size)
        if height != width:
            raise VideoNetworkError(f"V-JEPA 2 takes square frames here, got {height} x {width}")
        if frames <= 0 or frames % self.tubelet:
            raise VideoNetworkError(f"this network takes a multiple of {self.tubelet} frames, got {frames}")


class VJEPA2(VideoNetwork):
    """transformers' encoder under our contract; the embedding is the mean of its tokens."""

    def __init__(self, size: VJEPA2Size) -> None:
        """Randomly initialised.

        Raises:
            LibraryError: transformers is not there, or too old.
        """
        super().__init__()
        self.size = size
        config = from_transformers("VJEPA2Config")(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.num_heads,
            mlp_ratio=(size.mlp_dim + 0.5) / size.width,  # the library rounds the product down
            crop_size=size.image_size,
            patch_size=size.patch_size,
            tubelet_size=size.tubelet,
            frames_per_clip=size.num_frames,
            layer_norm_eps=1e-6,
            pred_hidden_size=12 * 6,  # the predictor is built and dropped: as small as it goes
            pred_num_hidden_layers=1,
        )
        self.encoder = from_transformers("VJEPA2Model")(config).encoder

    def forward(self, clips: Tensor) -> Tensor:
        """The mean of all tokens after the final norm, [B, D].

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        return self.tokens(clips).mean(dim=1)

    def tokens(self, clips: Tensor) -> Tensor:
        """Tokens after the final norm, [B, T / tubelet * N, D], time-major."""
        check_clips(clips, self.size.patch_size)
        self.size.check(clips.shape[2], *clips.shape[3:])
        grid = clips.shape[3] // self.size.patch_size
        for layer in self.encoder.layer:
            layer.attention.grid_size = grid  # the library takes that of its configuration; the official code, this
        return self.encoder(pixel_values_videos=clips.transpose(1, 2)).last_hidden_state  # type: ignore[no-any-return]

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`."""
        name = name.removeprefix(LIBRARY)
        if name.startswith("layer."):
            return int(name.split(".")[1]) + 1
        return self.size.depth + 1 if name.startswith("layernorm.") else 0


def library_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors`, named as in official files, by the names of `VJEPA2`; joint projections are cut in three."""
    ours = {}
    for name, tensor in renamed(tensors, lambda name: LIBRARY + replaced(name, RENAMED)).items():
        if ".attention.qkv." in name and tensor.ndim and tensor.shape[0] % 3 == 0:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[name.replace(".qkv.", f".{part}.")] = third
        else:
            ours[name] = tensor
    return ours
