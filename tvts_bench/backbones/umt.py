"""Unmasked Teacher, single-modality: pretrained files (with decoders to CLIP's features) and fine-tuned ones."""

from dataclasses import replace

from tvts_bench.backbones import ModelCard
from tvts_bench.backbones._conversion.videomae import masked_family
from tvts_bench.models.joint_vit import JointViTConfig

_BASE = JointViTConfig(num_frames=8, tubelet=1, resampling="bicubic_linear")
SIZES = {
    "base": _BASE,
    "large": replace(_BASE, embed_dim=1024, depth=24, num_heads=16, mlp_dim=4096),
    "tiny": replace(_BASE, embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
}
CARD = ModelCard(
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
# Files fine-tuned with other clips than 8 x 224 x 224 bring a table of positions, whose length tells the clips.
FAMILY = masked_family(name="umt", card=CARD, sizes=SIZES)
