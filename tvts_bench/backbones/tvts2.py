"""TVTSv2: CLIP's image encoder with attention along time added to each block; [CLS], normalised and projected."""

from dataclasses import replace

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.divided_names import ENCODER, TINY, clip_size, from_clip_names
from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig
from tvts_bench.video.spec import ClipSpec

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
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
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


def _size(teller: SizeTeller) -> DividedTransformerConfig:
    """Which GELU cannot be told from tensors: the exact one is H/14's alone, whose start is OpenCLIP's."""
    size = clip_size(BASE, teller)
    return replace(size, quick_gelu=size.patch_size != HUGE.patch_size)


def _clip_spec(size: DividedTransformerConfig) -> ClipSpec:
    return ClipSpec(
        num_frames=size.num_frames,
        sampling="endpoints",
        resize="squash",
        short_side=size.image_size,
        crop=size.image_size,
    )


FAMILY = video_family(
    name="tvts2",
    sizes=SIZES,
    build=DividedTransformer,
    tell=_size,
    convert=from_clip_names,
    clip_spec=_clip_spec,
    prefix=ENCODER,
    others=(
        *("text_model.", "text_token_embedding.", "text_positional_embedding", "text_ln_final.", "text_projection"),
        "pred_model.",
    ),
)


def recognises(layout: Layout) -> bool:
    """Whether these are TVTSv2's tensors: CLIP's names with attention along time."""
    return encoder_layout(layout, ENCODER).has("transformer.resblocks.0.timeattn.qkv.weight", "class_embedding")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The video encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.load(checkpoint, variant, seed)
