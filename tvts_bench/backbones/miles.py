"""MILES: Frozen's video encoder, trained to predict masked patches, too; [CLS] after the final norm, not projected."""

from dataclasses import replace
from functools import partial

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.divided_names import ENCODER, FROZEN_INPUT, TINY, frozen_clip_spec, frozen_size
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig

BASE = DividedTransformerConfig(longer="linear")  # the official code takes no more frames than its table has
SIZES = {"base": BASE, "tiny": replace(TINY, longer="linear")}
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
    title="MILES",
    what="Frozen's divided space-time ViT, trained to match videos with texts and to predict masked video patches",
    weights={
        "MILES.pth (CC3M + WebVid-2M)": "no public file: the OneDrive link of https://github.com/TencentARC/MCQ/blob/"
        "main/MILES.md cannot be downloaded (issue 20 there, open since July 2024)",
    },
    licence="BSD-3-Clause according to the README of TencentARC/MCQ, without a licence file",
    supervised=None,
    input=f"{FROZEN_INPUT}; for more frames the temporal positions are resampled, linear",
    representation="[CLS] after the final norm, 768, not projected",
    published=(("table4", "MILES"), ("table5", "MILES"), ("table7", "MILES")),
    reference="Ge et al., ECCV 2022",
    tensor_names=("temporal_embed", "blocks.0.timeattn.qkv.weight", "blocks.0.norm3.weight", "text_proj.1.weight"),
    shares_layout_with=("frozen",),
)
FAMILY = video_family(
    name="miles",
    sizes=SIZES,
    build=DividedTransformer,
    tell=partial(frozen_size, BASE),
    convert=dict,
    clip_spec=frozen_clip_spec,
    prefix=ENCODER,
    others=("text_model.", "text_proj.", "vid_proj."),
)


def recognises(layout: Layout) -> bool:
    """Whether these are MILES's tensors; a bare encoder's could be Frozen's as well."""
    return encoder_layout(layout, ENCODER).has("blocks.0.timeattn.qkv.weight") and not layout.starts("txt_proj.")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The video encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.load(checkpoint, variant, seed)
