"""The divided space-time transformer in files: Frozen's names, which MCQ and MILES took over, and CLIP's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.models.divided_vit import DividedTransformerConfig
from tvts_bench.models.state_dict import renamed, replaced

ENCODER = "video_model."  # prefix of the video encoder in a training checkpoint
TINY = DividedTransformerConfig(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8)
FROZEN_INPUT = "4 frames of 224 x 224, centres of equal segments, ImageNet mean and deviation"
# The authors crop 256 x 256 and resize that to 224 x 224; here the frame is resized once, to the same picture.
CLIP_PARTS = (  # what OpenAI's files hold beside the image encoder
    *("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale"),
    *("input_resolution", "context_length", "vocab_size"),
)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP_NAMES = (  # parts of CLIP's names -> the network's, in the order to replace them
    ("transformer.resblocks.", "blocks."),
    ("conv1.", "patch_embed.proj."),
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("temporal_embedding", "temporal_embed"),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".ln_3.", ".norm3."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def frozen_config(
    base: DividedTransformerConfig, reader: ConfigReader, norm: str = "norm.weight"
) -> DividedTransformerConfig:
    """The shape of an encoder with Frozen's names.

    Args:
        base: in all that tensors do not tell.
        reader: of the encoder.
        norm: what its final norm is called.
    """
    shape = reader.vit({}, norm=norm)
    frames = reader.shape("temporal_embed", 3)[1] if base.time_attention else base.num_frames
    return replace(base, **shape, num_frames=frames)


def clip_config(base: DividedTransformerConfig, reader: ConfigReader) -> DividedTransformerConfig:
    """The shape of an encoder with CLIP's names, in all else as `base`."""
    return replace(
        base,
        **clip_vit({"huge": replace(base, width=1280, num_heads=16)}, reader),  # H/14's heads are of width 80
        num_frames=reader.shape("temporal_embedding", 2)[0] if base.time_attention else base.num_frames,
        output_dim=reader.shape("proj", 2)[1],
    )


def clip_vit(sizes: Mapping[str, Any], reader: ConfigReader) -> dict[str, Any]:
    """What tensors with CLIP's names tell of their encoder; `sizes` as for `ConfigReader.vit`."""
    return reader.vit(
        sizes,
        norm="ln_post.weight",
        blocks="transformer.resblocks.",
        patches="conv1.weight",
        mlp=".mlp.c_fc.bias",
        positions="positional_embedding",
        dimensions=2,
    )


def from_clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` by the network's names; tables get the leading dimension that the network's have."""
    ours = renamed(tensors, lambda name: replaced(name, CLIP_NAMES))
    for name, dimensions in {"cls_token": 1, "pos_embed": 2, "temporal_embed": 2}.items():  # in the file
        if name in ours and ours[name].ndim == dimensions:
            ours[name] = ours[name].reshape(1, -1, ours[name].shape[-1])
    return ours
