"""MCQ's VideoFormer: patches see their frame, and only [CLS] sees all frames; it has no temporal parameters.

The module that answers multiple-choice questions (BridgeFormer) is in the file, too, and not used for features.
"""

from dataclasses import replace
from functools import partial

from tvts_bench.backbones import CheckpointSignature, Family, ModelCard, square_clip
from tvts_bench.backbones._conversion.frozen import (
    CLIP_MEAN,
    CLIP_PARTS,
    CLIP_STD,
    ENCODER,
    FROZEN_INPUT,
    TINY,
    clip_config,
    from_clip_names,
    frozen_config,
)
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig
from tvts_bench.models.state_dict import renamed, substituted

BASE = DividedTransformerConfig(time_attention=False)
SIZES = {"base": BASE, "tiny": replace(TINY, time_attention=False)}
CLIP_BASE = replace(BASE, patch_size=32, clip=True, quick_gelu=True, output_dim=512)
CLIP_SIZES = {
    "clip_base_patch32": CLIP_BASE,
    "clip_tiny": replace(TINY, time_attention=False, clip=True, quick_gelu=True, output_dim=64),
}
CARD = ModelCard(
    title="MCQ",
    what="ViT with attention inside each frame and [CLS] across frames, trained to answer multiple-choice questions"
    " about captioned videos and to match them with their texts",
    weights={
        "MCQ.pth (CC3M + WebVid-2M)": "https://drive.google.com/file/d/1SojMkCprqaciA56wpm1jt_jJIdYM5vLP",
        "MCQ_CLIP.pth (from CLIP; name mcq:clip_base_patch32, its layout is CLIP's)": "https://drive.google.com/file/d/"
        "10ryRLuT4Mjg1fEzrSrL8G36tt0IklbN2",
    },
    licence="BSD-3-Clause according to the README, without a licence file",
    supervised=None,
    input=f"{FROZEN_INPUT} (clip_base_patch32: CLIP's); any number of frames fits",
    representation="[CLS] after the final norm, 768, not projected (clip_base_patch32: projected, 512)",
    published=(("table4", "MCQ"), ("table5", "MCQ"), ("table7", "MCQ")),
    reference="Ge et al., CVPR 2022",
    tensor_names=(
        "video_model.norm1.weight",
        "video_model.norm2.weight",
        "blocks.0.bridgeattn.qkv.weight",
        "bridge_proj.0.weight",
    ),
    shares_layout_with=("clip",),
)
BRIDGE = r"blocks\.\d+\.(crossattn|bridgeattn|bridge_mlp|norm[4-7])\.|norm2\."  # answers the questions


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are MCQ's tensors. MCQ_CLIP's have CLIP's names: that variant must be named."""
    encoder = signature.encoder(ENCODER)
    own = encoder.has("pos_embed", "cls_token", "norm1.weight", "blocks.0.attn.qkv.weight")
    return own and not encoder.has("blocks.0.timeattn.qkv.weight")


FINAL_NORM = ((r"^norm1\.", "norm."),)  # so called beside the bridge's `norm2`
OF_CLIP = Family(
    name="mcq",
    card=CARD,
    sizes=CLIP_SIZES,
    matches=matches,
    infer_config=partial(clip_config, CLIP_BASE),
    build=DividedTransformer,
    convert=from_clip_names,
    clip_spec=partial(square_clip, mean=CLIP_MEAN, std=CLIP_STD),
    prefix="visual.",
    beside=CLIP_PARTS,
)
FAMILY = Family(
    name="mcq",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=partial(frozen_config, BASE, norm="norm1.weight"),
    build=DividedTransformer,
    convert=lambda tensors: renamed(tensors, lambda name: substituted(name, FINAL_NORM)),
    prefix=ENCODER,
    beside=("text_model.", "text_proj.", "vid_proj.", "bridge_proj."),
    ignore=rf"head\.|{BRIDGE}",
    other_layouts=(OF_CLIP,),
)
