"""MoCo v3 over frames, from its authors' ImageNet files; the video re-training that the paper quotes is not public."""

from tvts_bench.backbones import CheckpointSignature, Family, ModelCard, square_clip
from tvts_bench.models.video_network import ImageConfig, image_vit

SIZES = {
    "base": ImageConfig(),
    "small": ImageConfig(width=384, num_heads=12, mlp_dim=1536),  # twice as many heads as others have at its width
    "tiny": ImageConfig(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32),
}
URL = "https://dl.fbaipublicfiles.com/moco-v3/"
CARD = ModelCard(
    title="MoCo v3 (ImageNet)",
    what="ViT trained by contrasting two views of an image; each frame on its own, averaged",
    weights={
        "vit-b-300ep.pth.tar": f"{URL}vit-b-300ep/vit-b-300ep.pth.tar",
        "vit-s-300ep.pth.tar": f"{URL}vit-s-300ep/vit-s-300ep.pth.tar",
        "trained on Kinetics-400 (the paper's row)": "no public file: none found",
    },
    licence="CC BY-NC 4.0, code and weights",
    supervised=None,
    input="16 frames, centres of equal segments, short side 256, crop 224, ImageNet mean and deviation; the number of"
    " frames is ours",
    representation="[CLS] after the final norm (768; 384 for small), mean over frames",
    published=(("table5", "MoCo v3"),),
    reference="Chen et al., ICCV 2021",
    tensor_names=(
        "base_encoder.blocks.0.attn.qkv.bias",
        "momentum_encoder.blocks.0.attn.qkv.bias",
        "predictor.0.weight",
    ),
)
ENCODER = "base_encoder."  # the one its authors evaluate


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are the tensors of MoCo v3's training: an image transformer beside its momentum encoder."""
    return signature.under(ENCODER).is_image_vit()


FAMILY = Family(
    name="mocov3",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=lambda reader: ImageConfig(**reader.vit(SIZES)),
    build=image_vit,
    inside="image.vit.",
    clip_spec=lambda config: square_clip(config, short_side=config.image_size * 256 // 224),
    prefix=ENCODER,
    beside=("momentum_encoder.", "predictor."),
)
