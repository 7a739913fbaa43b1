"""MAE's image encoder over frames: what TVTS's own training starts from."""

from tvts_bench.backbones import CheckpointSignature, Family, ModelCard, square_clip
from tvts_bench.models.video_network import ImageConfig, image_vit

SIZES = {
    "base": ImageConfig(),
    "large": ImageConfig(width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "huge": ImageConfig(width=1280, depth=32, num_heads=16, mlp_dim=5120, patch_size=14),  # heads are wider than 64
    "tiny": ImageConfig(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32),
}
URL = "https://dl.fbaipublicfiles.com/mae/pretrain/"
CARD = ModelCard(
    title="MAE (ImageNet)",
    what="ViT trained to reconstruct the pixels of masked patches of images; each frame on its own, averaged",
    weights={name: f"{URL}{name}" for name in (f"mae_pretrain_vit_{size}.pth" for size in ("base", "large", "huge"))},
    licence="CC BY-NC 4.0, code and weights",
    supervised=None,
    input="16 frames, centres of equal segments, short side 256, crop 224, ImageNet mean and deviation; the number of"
    " frames is ours",
    representation="[CLS] after the final norm (768; 1024 for large, 1280 for huge), mean over frames",
    published=(),
    reference="He et al., CVPR 2022",
    tensor_names=(
        "decoder_blocks.0.attn.qkv.bias",
        "decoder_pos_embed",
        "mask_token",
        "blocks.0.attn.qkv.bias",
        "pos_embed",
    ),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are MAE's tensors: a plain image transformer, with its decoder or as its authors saved it without.

    Without the decoder only `model`, the key that holds the tensors, and the missing head tell it from others.
    """
    encoder_only = signature.container == "model" and not signature.starts("head.", "fc_norm.")
    return signature.is_image_vit() and (signature.starts("decoder_blocks.") or encoder_only)


FAMILY = Family(
    name="mae",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=lambda reader: ImageConfig(**reader.vit(SIZES)),
    build=image_vit,
    inside="image.vit.",
    clip_spec=lambda config: square_clip(config, short_side=config.image_size * 256 // 224),
    ignore=r"decoder_|mask_token|head\.",
)
