"""TVTSv2: CLIP's image encoder with attention along time added to each block; [CLS], normalised and projected."""

from dataclasses import replace
from functools import partial

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.backbones._conversion.frozen import ENCODER, TINY, clip_config, from_clip_names
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig

BASE = DividedTransformerConfig(num_frames=12, longer="linear", clip=True, quick_gelu=True, output_dim=512)
HUGE = replace(
    BASE,
    width=1280,
    depth=32,
    num_heads=16,
    mlp_dim=5120,
    patch_size=14,
    quick_gelu=False,
    output_dim=1024,
)
SIZES = {
    "base": BASE,
    "base_patch32": replace(BASE, patch_size=32),
    "huge": HUGE,
    "tiny": replace(TINY, num_frames=12, longer="linear", clip=True, quick_gelu=True, output_dim=64),
}
CARD = ModelCard(
    title="TVTSv2",
    what="CLIP's ViT with divided space-time attention, trained on narrated and captioned videos to sort transcripts",
    weights={
        "TVTSv2_B_16.pth": "https://drive.google.com/file/d/1HKc7aGwMd5jhVaYztuY-jbmYqiz_wvWF",
        "TVTSv2_B_32.pth": "https://drive.google.com/file/d/1zNHgqioo-aRUwZXPyTDiRT2uaRrnk386",
        "TVTSv2_H_14.pth": "https://drive.google.com/file/d/1nxNSaQKm2jt9NSZ3eLnKx7ATTumV-6D5",
    },
    licence="none stated for the weights; research use at your own risk",
    supervised=None,
    input="12 frames from the first to the last, squashed to 224 x 224, ImageNet mean and deviation",
    representation="[CLS] after the final norm, projected: 512 (huge: 1024), not normalised",
    published=(),
    reference="Zeng et al., arXiv 2305.14173",
    tensor_names=(
        "class_embedding",
        "temporal_embedding",
        "transformer.resblocks.0.timeattn.qkv.weight",
        "transformer.resblocks.0.ln_3.weight",
    ),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are TVTSv2's tensors: CLIP's names with attention along time."""
    return signature.encoder(ENCODER).has("transformer.resblocks.0.timeattn.qkv.weight", "class_embedding")


def infer_config(reader: ConfigReader) -> DividedTransformerConfig:
    """Which GELU cannot be told from tensors: the exact one is H/14's alone, whose start is OpenCLIP's."""
    config = clip_config(BASE, reader)
    return replace(config, quick_gelu=config.patch_size != HUGE.patch_size)


FAMILY = Family(
    name="tvts2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=DividedTransformer,
    convert=from_clip_names,
    clip_spec=partial(square_clip, sampling="endpoints", resize="squash"),
    prefix=ENCODER,
    beside=(
        *("text_model.", "text_token_embedding.", "text_positional_embedding", "text_ln_final.", "text_projection"),
        "pred_model.",
    ),
)
