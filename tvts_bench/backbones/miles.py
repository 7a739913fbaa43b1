"""MILES: Frozen's video encoder, trained to predict masked patches, too; [CLS] after the final norm, not projected."""

from dataclasses import replace
from functools import partial

from tvts_bench.backbones import CheckpointSignature, Family, ModelCard
from tvts_bench.backbones._conversion.frozen import ENCODER, FROZEN_INPUT, TINY, frozen_config
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig

BASE = DividedTransformerConfig(longer="linear")  # the official code takes no more frames than its table has
SIZES = {"base": BASE, "tiny": replace(TINY, longer="linear")}
CARD = ModelCard(
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are MILES's tensors; a bare encoder's could be Frozen's as well."""
    return signature.encoder(ENCODER).has("blocks.0.timeattn.qkv.weight") and not signature.starts("txt_proj.")


FAMILY = Family(
    name="miles",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=partial(frozen_config, BASE),
    build=DividedTransformer,
    prefix=ENCODER,
    beside=("text_model.", "text_proj.", "vid_proj."),
)
