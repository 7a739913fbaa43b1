"""TimeSformer's tensors in files, under the names that its own code and SVT's save them by."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from tvts_bench.backbones._builder import square_clip
from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.models.state_dict import renamed, replaced
from tvts_bench.models.timesformer import LIBRARY, TimeSformerConfig

BASE = TimeSformerConfig()
TINY = TimeSformerConfig(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8)
# One frame of each of equal segments, a centre crop, one mean and deviation for all colours.
clip_spec = partial(square_clip, short_sides={224: 256, 448: 512}, mean=(0.45,) * 3, std=(0.225,) * 3)
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
    fields = reader.vit({})
    side, frames = reader.grid("pos_embed"), reader.shape("time_embed", 3)[1]
    return TimeSformerConfig(**fields, image_size=fields["patch_size"] * side, num_frames=frames)


def library_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors`, named as in official files, by the names of `TimeSformer`."""
    return renamed(tensors, lambda name: LIBRARY + replaced(name, RENAMED))
