"""Frozen in Time: the video encoder of the official training checkpoints, [CLS] after the final norm, not projected."""

from functools import partial

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.divided_names import ENCODER, FROZEN_INPUT, TINY, frozen_clip_spec, frozen_size
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig

SIZES = {"base": DividedTransformerConfig(), "tiny": TINY}
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
    title="Frozen",
    what="ViT with divided space-time attention, trained to match captioned images and videos with their texts",
    weights={
        "cc-webvid2m-4f_stformer_b_16_224.pth.tar (CC3M + WebVid-2M)": "https://www.robots.ox.ac.uk/~maxbain/"
        "frozen-in-time/models/cc-webvid2m-4f_stformer_b_16_224.pth.tar",
    },
    licence="MIT (code); none stated for the weights",
    supervised=None,
    input=f"{FROZEN_INPUT}; more frames get no temporal position, as in the official code",
    representation="[CLS] after the final norm, 768, not projected",
    published=(("table4", "Frozen"), ("table5", "Frozen"), ("table7", "Frozen")),
    reference="Bain et al., ICCV 2021",
    tensor_names=("temporal_embed", "blocks.0.timeattn.qkv.weight", "blocks.0.norm3.weight", "txt_proj.1.weight"),
    shares_layout_with=("miles",),
)
FAMILY = video_family(
    name="frozen",
    sizes=SIZES,
    build=DividedTransformer,
    tell=partial(frozen_size, DividedTransformerConfig()),
    convert=dict,
    clip_spec=frozen_clip_spec,
    prefix=ENCODER,
    others=("text_model.", "txt_proj.", "vid_proj."),
)


def recognises(layout: Layout) -> bool:
    """Whether these are Frozen's tensors; a bare encoder's could be MILES's as well."""
    return encoder_layout(layout, ENCODER).has("blocks.0.timeattn.qkv.weight") and not layout.starts("text_proj.")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The video encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.load(checkpoint, variant, seed)
