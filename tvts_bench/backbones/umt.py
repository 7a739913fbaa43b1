"""Unmasked Teacher, single-modality: pretrained files (with decoders to CLIP's features) and fine-tuned ones."""

from dataclasses import replace

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.joint_vit import JointFamily
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.masked_files import load_masked, possible_families, with_token_norm
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.joint_vit import JointViTConfig
from tvts_bench.video.spec import ClipSpec

_BASE = JointViTConfig(num_frames=8, tubelet=1, resampling="bicubic_linear")
SIZES = with_token_norm(
    {
        "base": _BASE,
        "large": replace(_BASE, embed_dim=1024, depth=24, num_heads=16, mlp_dim=4096),
        "tiny": replace(_BASE, embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
    }
)
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
    title="UMT",
    what="ViT with joint space-time attention, trained to give unmasked tokens the features that CLIP gives them",
    weights={
        "b16_ptk710_f8_res224.pth": "https://pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com/umt/single_modality/"
        "b16_ptk710_f8_res224.pth",
        "large, and fine-tuned": "https://github.com/OpenGVLab/unmasked_teacher/blob/main/single_modality/MODEL_ZOO.md",
    },
    licence="MIT",
    supervised="none in pretrained files, whose teacher is CLIP; fine-tuned ones with the classes of their data set",
    input="8 frames of 224 x 224, one from each of 8 equal segments, ImageNet mean and deviation",
    representation="mean of all tokens, normalised: by fc_norm in fine-tuned files, without weights in pretrained ones"
    " (...-token-norm: mean of the tokens after the encoder's norm); 768 for base, 1024 for large",
    published=(),
    reference="Li et al., ICCV 2023",
    tensor_names=("encoder.blocks.0.attn.q_bias", "encoder.blocks.0.attn.v_bias", "clip_decoder.0.head.weight"),
)


def clip_spec(config: JointViTConfig) -> ClipSpec:
    """Frames spread over the video."""
    return ClipSpec(num_frames=config.num_frames, short_side=config.image_size, crop=config.image_size)


FAMILY = JointFamily(name="umt", sizes=SIZES, clip=clip_spec)


def recognises(layout: Layout) -> bool:
    """Whether these are UMT's tensors: named as VideoMAE's, with tubes of one frame or decoders to CLIP."""
    return FAMILY.name in possible_families(layout)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed`.

    Files fine-tuned with other clips than 8 x 224 x 224 bring a table of positions, whose length tells the clips.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.random(variant, seed) if checkpoint is None else load_masked(FAMILY, checkpoint, variant)
