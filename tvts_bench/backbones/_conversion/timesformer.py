"""TimeSformer (Bertasius et al., ICML 2021), its own and SVT's: transformers' network, and its tensors in files.

Attention is divided in space and time. Its block is not Frozen's: attention along time leaves [CLS] out and goes
through a linear layer, and attention in space works on one copy of [CLS] a frame, averaged afterwards.
"""

from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from tvts_bench.backbones import (
    CheckpointSignature,
    ConfigReader,
    Family,
    from_transformers,
    square_clip,
)
from tvts_bench.models.video_network import NetworkConfig, VideoNetwork, VideoNetworkError, check_clips, check_pixels

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

    BLOCKS, AFTER = f"{LIBRARY}encoder.layer.", (f"{LIBRARY}layernorm.",)

    def __init__(self, size: TimeSformerConfig) -> None:
        """Randomly initialised.

        Raises:
            BackboneError: transformers is not there.
        """
        super().__init__(size.depth)
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

    def _encoded(self, clips: Tensor) -> Tensor:
        """All tokens after the final norm, [B, 1 + N * T, D]; the library goes through time fastest."""
        check_clips(clips, self.size.patch_size)
        self.size.check_row(clips.shape[4])
        config = self.timesformer.config  # its layers read the shape of the clip from here at each call
        config.num_frames, config.image_size = clips.shape[2], clips.shape[4]
        return self.timesformer(clips.transpose(1, 2)).last_hidden_state  # type: ignore[no-any-return]


BASE = TimeSformerConfig()
TINY = TimeSformerConfig(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8)
RENAMED = (  # parts of official names -> the library's, in the order to replace them
    ("norm.", "layernorm."),  # the final one; those of blocks have numbers
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("time_embed", "embeddings.time_embeddings"),
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    ("blocks.", "encoder.layer."),
    (".temporal_norm1.", ".temporal_layernorm."),
    (".temporal_attn.qkv.", ".temporal_attention.attention.qkv."),
    (".temporal_attn.proj.", ".temporal_attention.output.dense."),
    (".temporal_fc.", ".temporal_dense."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.qkv.", ".attention.attention.qkv."),
    (".attn.proj.", ".attention.output.dense."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)


def is_timesformer(signature: CheckpointSignature) -> bool:
    """Whether these are the tensors of a TimeSformer, trained by whomever."""
    return signature.has("cls_token", "pos_embed", "time_embed", "blocks.0.temporal_attn.qkv.weight")


def has_dino_head(signature: CheckpointSignature) -> bool:
    """Whether there is the projection head of self-distillation, which SVT trains with."""
    return signature.starts("head.mlp.", "head.last_layer.")


def infer_config(reader: ConfigReader) -> TimeSformerConfig:
    """The shape of a TimeSformer whose tensors these are."""
    return TimeSformerConfig(**reader.vit({}), num_frames=reader.shape("time_embed", 3)[1])


timesformer_family = partial(
    Family,
    infer_config=infer_config,
    build=TimeSformer,
    names=RENAMED,
    inside=LIBRARY,
    # One frame of each of equal segments, a centre crop, one mean and deviation for all colours.
    clip_spec=partial(square_clip, short_sides={224: 256, 448: 512}, mean=(0.45,) * 3, std=(0.225,) * 3),
)
"""A family whose files are a TimeSformer's; takes the other fields of `Family`."""
