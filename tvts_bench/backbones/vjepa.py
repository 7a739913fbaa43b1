"""V-JEPA (the first): the target encoder of the official pretraining files."""

import math
from dataclasses import replace
from functools import partial

from tvts_bench.backbones import CheckpointSignature, ModelCard, square_clip
from tvts_bench.backbones._conversion.videomae import PATCHES, TABLE, joint_config, joint_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.joint_vit import JointViTConfig
from tvts_bench.models.state_dict import WRAPPERS
from tvts_bench.video.spec import ClipSpec

_BASE = JointViTConfig(positions="stored", resampling="trilinear", pooling="mean_of_norm")
_HUGE = replace(_BASE, embed_dim=1280, depth=32, num_heads=16, mlp_dim=5120)
SIZES = {
    "large": replace(_BASE, embed_dim=1024, depth=24, num_heads=16, mlp_dim=4096),
    "huge": _HUGE,
    "huge-384": replace(_HUGE, image_size=384),
    "tiny": replace(_BASE, embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
}
BACKBONE = "backbone."  # prefix of the encoder's names, besides DistributedDataParallel's
STEPS = 8  # of its tables in time: 16 frames
LARGEST_GRID = 24  # 384 pixels; files of V-JEPA 2 have longer tables, which its rotary attention does not use
URL = "https://dl.fbaipublicfiles.com/jepa/"
CARD = ModelCard(
    title="V-JEPA",
    what="ViT with joint space-time attention, trained to predict its own averaged features of masked regions",
    weights={
        "vitl16.pth.tar": f"{URL}vitl16/vitl16.pth.tar",
        "vith16.pth.tar": f"{URL}vith16/vith16.pth.tar",
        "vith16-384.pth.tar": f"{URL}vith16-384/vith16-384.pth.tar",
    },
    licence="CC BY-NC 4.0, code and weights",
    supervised=None,
    input="16 frames with stride 4, short side 256, crop 224 (384: 438 and 384), ImageNet mean and deviation",
    representation="mean of all tokens after the final norm, 1024 for large, 1280 for huge (its authors evaluate with"
    " an attentive probe on the tokens)",
    published=(),
    reference="Bardes et al., TMLR 2024",
    tensor_names=("backbone.patch_embed.proj.weight", "backbone.pos_embed", "backbone.blocks.0.attn.qkv.bias"),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are V-JEPA's tensors: video patches, one bias for q, k and v, 8 x G x G positions, no [CLS]."""
    names = signature.encoder(BACKBONE)
    if not names.has(PATCHES, TABLE, "blocks.0.attn.qkv.bias") or names.has("cls_token"):
        return False
    table, kernel = names.shapes[TABLE], names.shapes[PATCHES]
    if len(table) != 3 or len(kernel) != 5 or names.starts("head.", "fc_norm.", "temporal_embed"):
        return False
    side = math.isqrt(table[1] // STEPS)
    return table[1] == STEPS * side**2 and side <= LARGEST_GRID


def clip_spec(config: JointViTConfig) -> ClipSpec:
    """Frames in a row with stride 4; the short side is 256/224 of the crop."""
    return square_clip(config, sampling="dense", stride=4, short_side=int(config.image_size * 256 / 224))


def file_format(checkpoint: Checkpoint) -> str:
    """What kind of file it is, and which of its networks was taken."""
    return f"{checkpoint.format}, {(checkpoint.container or 'encoder').replace('_', ' ')}"


FAMILY = joint_family(
    name="vjepa",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=partial(joint_config, SIZES),
    clip_spec=clip_spec,
    wrappers=(*WRAPPERS, BACKBONE),
    ignore="$.",
    format=file_format,
)
