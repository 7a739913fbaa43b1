"""The divided space-time transformer in files: Frozen's names, which MCQ and MILES took over, and CLIP's."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.models.divided_vit import DividedTransformerConfig
from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.video.spec import ClipSpec

ENCODER = "video_model."  # prefix of the video encoder in a training checkpoint
TINY = DividedTransformerConfig(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8)
FROZEN_INPUT = "4 frames of 224 x 224, centres of equal segments, ImageNet mean and deviation"
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


def frozen_size(
    base: DividedTransformerConfig, teller: SizeTeller, *, norm: str = "norm.weight"
) -> DividedTransformerConfig:
    """The size of an encoder with Frozen's names, in all else as `base`; `norm` is what its final norm is called."""
    width = teller.width(norm)
    patch = teller.shape("patch_embed.proj.weight", 4)[-1]
    return replace(
        base,
        width=width,
        depth=teller.depth("blocks."),
        num_heads=width // 64,
        mlp_dim=teller.hidden("blocks.", ".mlp.fc1.bias"),
        patch_size=patch,
        image_size=patch * teller.grid(teller.shape("pos_embed", 3)[1] - 1, "pos_embed"),
        num_frames=teller.shape("temporal_embed", 3)[1] if base.time_attention else base.num_frames,
    )


def clip_size(base: DividedTransformerConfig, teller: SizeTeller) -> DividedTransformerConfig:
    """The size of an encoder with CLIP's names, in all else as `base`."""
    width = teller.width("ln_post.weight")
    patch = teller.shape("conv1.weight", 4)[-1]
    places = teller.shape("positional_embedding", 2)[0] - 1  # [CLS] has one, too
    return replace(
        base,
        width=width,
        depth=teller.depth("transformer.resblocks."),
        num_heads=16 if width == 1280 else width // 64,  # H/14's heads are of width 80
        mlp_dim=teller.hidden("transformer.resblocks.", ".mlp.c_fc.bias"),
        patch_size=patch,
        image_size=patch * teller.grid(places, "positional_embedding"),
        num_frames=teller.shape("temporal_embedding", 2)[0] if base.time_attention else base.num_frames,
        output_dim=teller.shape("proj", 2)[1],
    )


def from_clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` by the network's names; tables get the leading dimension that the network's have."""
    ours = renamed(tensors, lambda name: replaced(name, CLIP_NAMES))
    for name, dimensions in {"cls_token": 1, "pos_embed": 2, "temporal_embed": 2}.items():  # in the file
        if name in ours and ours[name].ndim == dimensions:
            ours[name] = ours[name].reshape(1, -1, ours[name].shape[-1])
    return ours


def frozen_clip_spec(size: DividedTransformerConfig) -> ClipSpec:
    """What Frozen's, MCQ's and MILES's authors test with: middle frames of equal segments, a centre crop.

    They crop 256 x 256 and resize that to 224 x 224; here the frame is resized once, to the same picture.
    """
    return ClipSpec(num_frames=size.num_frames, short_side=size.image_size, crop=size.image_size)
