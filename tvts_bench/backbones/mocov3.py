"""MoCo v3 over frames, from its authors' ImageNet files; the video re-training that the paper quotes is not public."""

from collections.abc import Mapping

from torch import Tensor

from tvts_bench.backbones._builder import Family
from tvts_bench.backbones._conversion.image_vit import build, clip_spec, infer_config, is_plain, library_names
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.backbones.model_cards import ModelCard
from tvts_bench.models.frame_average import ImageConfig

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
    return is_plain(signature.under(ENCODER))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the network's names; files of its linear classifier hold the encoder alone, without a prefix."""
    return library_names(tensors, prefix=ENCODER if any(name.startswith(ENCODER) for name in tensors) else "")


FAMILY = Family(
    name="mocov3",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=lambda reader: infer_config(SIZES, reader.inside(ENCODER)),
    build=build,
    convert=converted,
    clip_spec=clip_spec,
    ignore=r"momentum_encoder\.|predictor\.|base_encoder\.head\.|head\.",
)
