"""MCQ's VideoFormer: patches see their frame, and only [CLS] sees all frames; it has no temporal parameters.

The module that answers multiple-choice questions (BridgeFormer) is in the file, too, and not used for features.
"""

import re
from dataclasses import replace
from functools import partial

from torch import Tensor

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.divided_names import (
    ENCODER,
    FROZEN_INPUT,
    TINY,
    clip_size,
    from_clip_names,
    frozen_clip_spec,
    frozen_size,
)
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import Tensors, encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig
from tvts_bench.video.spec import ClipSpec

BASE = DividedTransformerConfig(time_attention=False)
SIZES = {"base": BASE, "tiny": replace(TINY, time_attention=False)}
CLIP_BASE = replace(BASE, patch_size=32, clip=True, quick_gelu=True, output_dim=512)
CLIP_SIZES = {
    "clip_base_patch32": CLIP_BASE,
    "clip_tiny": replace(TINY, time_attention=False, clip=True, quick_gelu=True, output_dim=64),
}
VARIANTS = (*SIZES, *CLIP_SIZES)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CARD = FamilyCard(
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
BRIDGE = re.compile(r"blocks\.\d+\.(crossattn|bridgeattn|bridge_mlp|norm[4-7])\.|norm2\.")


def _from_file(tensors: Tensors) -> dict[str, Tensor]:
    """The final norm is called `norm1` beside the bridge's `norm2`."""
    return {f"norm.{name[6:]}" if name.startswith("norm1.") else name: tensor for name, tensor in tensors.items()}


FAMILY = video_family(
    name="mcq",
    sizes=SIZES,
    build=DividedTransformer,
    tell=partial(frozen_size, BASE, norm="norm1.weight"),
    convert=_from_file,
    clip_spec=frozen_clip_spec,
    prefix=ENCODER,
    others=("text_model.", "text_proj.", "vid_proj.", "bridge_proj."),
    inner=lambda name: name.startswith("head.") or BRIDGE.match(name) is not None,
)


def _clip_spec(size: DividedTransformerConfig) -> ClipSpec:
    return replace(frozen_clip_spec(size), mean=CLIP_MEAN, std=CLIP_STD)


CLIP_FAMILY = video_family(
    name="mcq",
    sizes=CLIP_SIZES,
    build=DividedTransformer,
    tell=partial(clip_size, CLIP_BASE),
    convert=from_clip_names,
    clip_spec=_clip_spec,
    prefix="visual.",
    others=(
        *("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale"),
        *("input_resolution", "context_length", "vocab_size"),
    ),
)


def recognises(layout: Layout) -> bool:
    """Whether these are MCQ's tensors. MCQ_CLIP's have CLIP's names: that variant must be asked for."""
    encoder = encoder_layout(layout, ENCODER)
    own = encoder.has("pos_embed", "cls_token", "norm1.weight", "blocks.0.attn.qkv.weight")
    return own and not encoder.has("blocks.0.timeattn.qkv.weight")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The video encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return (CLIP_FAMILY if variant in CLIP_SIZES else FAMILY).load(checkpoint, variant, seed)
