"""SVT: a TimeSformer trained by self-distillation; the teacher's [CLS] after the final norm."""

from tvts_bench.backbones import CheckpointSignature, ModelCard
from tvts_bench.backbones._conversion.timesformer import BASE, TINY, has_dino_head, is_timesformer, timesformer_family

SIZES = {"base": BASE, "tiny": TINY}
ENCODER = "backbone."  # prefix of its names, beside the projection head's
CARD = ModelCard(
    title="SVT",
    what="TimeSformer trained without labels to see the same in views of different length and size (self-distillation)",
    weights={"kinetics400_vitb_ssl.pth": "https://github.com/kahnchana/svt/releases/tag/v1.0"},
    licence="MIT (its network derives from TimeSformer's, CC BY-NC 4.0)",
    supervised=None,
    input="8 frames of 224 x 224, centres of equal segments (its authors take every 32nd frame on Kinetics),"
    " mean 0.45, deviation 0.225",
    representation="[CLS] of the teacher after the final norm, 768",
    published=(("table4", "SVT"), ("table5", "SVT"), ("table7", "SVT")),
    reference="Ranasinghe et al., CVPR 2022",
    tensor_names=(
        "backbone.time_embed",
        "backbone.blocks.0.temporal_attn.qkv.weight",
        "backbone.blocks.0.temporal_fc.weight",
        "head.last_layer.weight_v",
    ),
    shares_layout_with=("timesformer",),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether this is a TimeSformer beside SVT's head or in its container; a bare one without a head could be SVT's."""
    if signature.starts(ENCODER):
        return is_timesformer(signature.under(ENCODER))
    supervised = signature.has("head.weight") or signature.container == "model_state"
    return is_timesformer(signature) and (has_dino_head(signature) or not supervised)


FAMILY = timesformer_family(
    name="svt",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    prefix=ENCODER,
    beside=("head.",),
)
