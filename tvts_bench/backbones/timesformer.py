"""TimeSformer with divided space-time attention, from the official files: [CLS] after the final norm."""

from dataclasses import replace

from tvts_bench.backbones import CheckpointSignature, ModelCard
from tvts_bench.backbones._conversion.timesformer import BASE, TINY, has_dino_head, is_timesformer, timesformer_family

SIZES = {
    "base": BASE,
    "high_resolution": replace(BASE, num_frames=16, image_size=448),
    "tiny": TINY,
}
ENCODER = "model."  # prefix of its names in official files
CARD = ModelCard(
    title="TimeSformer",
    what="ViT with divided space-time attention, trained to classify actions",
    weights={
        f"TimeSformer_divST_{name}.pyth": "Dropbox link in the README of https://github.com/facebookresearch/TimeSformer"
        for name in ("8x32_224_K400", "8x32_224_K600", "8_224_SSv2", "16x16_448_K400", "96x4_224_K400")
    },
    licence="CC BY-NC 4.0",
    supervised="the classes of the data set in the file's name",
    input="8 frames of 224 x 224 (high_resolution: 16 of 448 x 448; others as many as the file's table has), centres of"
    " equal segments as its authors do on SSv2 (on Kinetics they take every 32nd frame), mean 0.45, deviation 0.225",
    representation="[CLS] after the final norm, 768",
    published=(("table5", "TimeSformer"),),
    reference="Bertasius et al., ICML 2021",
    tensor_names=("model.time_embed", "model.blocks.0.temporal_attn.qkv.weight", "model.blocks.0.temporal_fc.weight"),
    shares_layout_with=("svt",),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether this is a TimeSformer that nothing shows to be SVT's; a bare one without a head could be either."""
    own = is_timesformer(signature.encoder(ENCODER))
    return own and signature.container != "teacher" and not has_dino_head(signature)


FAMILY = timesformer_family(
    name="timesformer",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    prefix=ENCODER,
)
