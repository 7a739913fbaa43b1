"""Frozen in Time: the video encoder of the official training checkpoints, [CLS] after the final norm, not projected."""

from functools import partial

from tvts_bench.backbones import CheckpointSignature, Family, ModelCard
from tvts_bench.backbones._conversion.frozen import ENCODER, FROZEN_INPUT, TINY, frozen_config
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig

SIZES = {"base": DividedTransformerConfig(), "tiny": TINY}
CARD = ModelCard(
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are Frozen's tensors; a bare encoder's could be MILES's as well."""
    return signature.encoder(ENCODER).has("blocks.0.timeattn.qkv.weight") and not signature.starts("text_proj.")


FAMILY = Family(
    name="frozen",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=partial(frozen_config, DividedTransformerConfig()),
    build=DividedTransformer,
    prefix=ENCODER,
    beside=("text_model.", "txt_proj.", "vid_proj."),
)
