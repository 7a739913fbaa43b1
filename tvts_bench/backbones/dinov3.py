"""DINOv3 over frames, from its official files: [CLS] after the final norm, rotary positions, four registers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.models.video_network import FrameAverage, ImageConfig, ImageNetwork

from timm.models.eva import Eva  # isort: skip


@dataclass(frozen=True, kw_only=True)
class DINOv3Config(ImageConfig):
    """The shape of a DINOv3; the defaults are ViT-B/16. There is no table of positions."""

    image_size: int = 256
    resampling: str = ""
    registers: int = 4
    gated: bool = False  # SwiGLU in the MLP, `mlp_dim` wide


SIZES = {
    "base": DINOv3Config(),
    "small": DINOv3Config(width=384, num_heads=6, mlp_dim=1536),
    "small_plus": DINOv3Config(width=384, num_heads=6, mlp_dim=1536, gated=True),
    "large": DINOv3Config(width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "huge_plus": DINOv3Config(width=1280, depth=32, num_heads=20, mlp_dim=5120, gated=True),
    "tiny": DINOv3Config(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32),
}
CARD = ModelCard(
    title="DINOv3",
    what="ViT trained by self-distillation on 1.7 billion curated images; each frame on its own, averaged",
    weights={
        "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth": "after agreeing to its licence, from"
        " https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
    },
    licence="DINOv3 licence (custom; asks for agreement)",
    supervised=None,
    input="16 frames of 256 x 256, centres of equal segments, bicubic, ImageNet mean and deviation;"
    " the number of frames is ours",
    representation="[CLS] after the final norm (384, 768, 1024 or 1280), mean over frames",
    published=(),
    reference="Siméoni et al., 2025",
    tensor_names=("storage_tokens", "rope_embed.periods", "blocks.0.attn.qkv.bias_mask", "blocks.0.ls1.gamma"),
)
TRAINING_ONLY = r"mask_token|local_cls_norm\.|projectors\."
FIXED = r".*(rope_embed\.periods|\.bias_mask)$"  # constants that timm's network has in its code
RENAMED = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are DINOv3's tensors: registers called storage tokens, and the periods of rotary positions."""
    return signature.has("storage_tokens", "rope_embed.periods", "blocks.0.attn.qkv.weight")


def infer_config(reader: ConfigReader) -> DINOv3Config:
    """The shape of a network, its registers, its heads and whether its MLP is gated."""
    gated = any(".mlp.w1." in name for name in reader.tensors)
    fields = reader.vit({}, mlp=".mlp.w1.bias" if gated else ".mlp.fc1.bias", positions=None)
    fields["num_heads"] = fields["width"] // (4 * reader.shape("rope_embed.periods", 1)[0])  # sine, cosine, two axes
    pixels = 256 if fields["patch_size"] == 16 else 4 * fields["patch_size"]  # the latter for toys
    return DINOv3Config(**fields, image_size=pixels, registers=reader.shape("storage_tokens", 3)[1], gated=gated)


def build(config: DINOv3Config) -> FrameAverage:
    """The network of that shape, timm's, with [CLS] (timm's default is the mean of patches), query and value biases."""
    vit = Eva(
        img_size=224,  # of no consequence: positions are made for the images that come
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        swiglu_mlp=config.gated,
        swiglu_align_to=1 if config.gated else 0,  # any: keeps gate and value apart, as the files have them
        init_values=1e-5,
        num_reg_tokens=config.registers,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        use_fc_norm=False,
        global_pool="token",
        num_classes=0,
        dynamic_img_size=True,
    )
    return FrameAverage(ImageNetwork(vit))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors as timm's network has them; keys have no bias in either (a mask takes it away in the file's)."""
    ours = {}
    for name, tensor in tensors.items():
        if name.endswith(".attn.qkv.bias") and tensor.ndim == 1 and len(tensor) % 3 == 0:
            attn = name.removesuffix("qkv.bias")
            ours[f"{attn}q_bias"], _, ours[f"{attn}v_bias"] = tensor.chunk(3)
        else:
            ours[name] = tensor
    return ours


FAMILY = Family(
    name="dinov3",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=build,
    names=RENAMED,
    convert=converted,
    inside="image.vit.",
    clip_spec=partial(square_clip, interpolation="bicubic"),
    ignore=rf"{TRAINING_ONLY}|head\.|{FIXED}",
)
