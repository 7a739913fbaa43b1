"""SVT: a TimeSformer trained by self-distillation; the teacher's [CLS] after the final norm."""

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.timesformer_files import BASE, TINY, clip_spec, has_dino_head, is_timesformer, told
from tvts_bench.backbones.video_family import video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.timesformer import TimeSformer, library_names

SIZES = {"base": BASE, "tiny": TINY}
VARIANTS = tuple(SIZES)
ENCODER = "backbone."  # prefix of its names, beside the projection head's
CARD = FamilyCard(
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
FAMILY = video_family(
    name="svt",
    sizes=SIZES,
    build=TimeSformer,
    tell=told,
    convert=library_names,
    clip_spec=clip_spec,
    prefix=ENCODER,
    others=("head.",),
)


def recognises(layout: Layout) -> bool:
    """Whether this is a TimeSformer beside SVT's head or in its container; a bare one without a head could be SVT's."""
    if layout.starts(ENCODER):
        return is_timesformer(layout.under(ENCODER))
    supervised = layout.has("head.weight") or layout.container == "model_state"
    return is_timesformer(layout) and (has_dino_head(layout) or not supervised)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The teacher with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
        LibraryError: transformers, which has the network, is missing.
    """
    return FAMILY.load(checkpoint, variant, seed)
