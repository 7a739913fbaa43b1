"""VideoMAE (version 1): official pretrained and fine-tuned files, and those of the transformers library."""

from tvts_bench.backbones import ModelCard
from tvts_bench.backbones._conversion.videomae import masked_family
from tvts_bench.models.joint_vit import JointViTConfig

SIZES = {
    "base": JointViTConfig(),
    "small": JointViTConfig(embed_dim=384, num_heads=6, mlp_dim=1536),
    "large": JointViTConfig(embed_dim=1024, depth=24, num_heads=16, mlp_dim=4096),
    "huge": JointViTConfig(embed_dim=1280, depth=32, num_heads=16, mlp_dim=5120),
    "tiny": JointViTConfig(embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
}
DRIVE = "https://drive.google.com/file/d/"
CARD = ModelCard(
    title="VideoMAE",
    what="ViT with joint space-time attention, trained to reconstruct the pixels of masked tubes",
    weights={
        "K400, ViT-B, 800 epochs": f"{DRIVE}1JfrhN144Hdg7we213H1WxwR3lGYOlmIn",
        "K400, ViT-B, 1600 epochs": f"{DRIVE}1tEhLyskjb755TJ65ptsrafUG2llSwQE1",
        "SSV2, ViT-B, 800 epochs": f"{DRIVE}181hLvyrrPW2IOGA46fkxdJk0tNLIgdB2",
        "SSV2, ViT-B, 2400 epochs": f"{DRIVE}1I18dY_7rSalGL8fPWV82c0-foRUDzJJk",
        "small, large, huge, and fine-tuned": "https://github.com/MCG-NJU/VideoMAE/blob/main/MODEL_ZOO.md",
        "transformers": "https://huggingface.co/MCG-NJU/videomae-base",
        "YT-Temporal (the paper's own run)": "no public file: never released",
    },
    licence="CC BY-NC 4.0, code and weights",
    supervised="none in pretrained files; fine-tuned ones with the classes of their data set",
    input="16 frames of 224 x 224, one from each of 16 equal segments (on Kinetics its authors take 16 with stride 4:"
    " sampling dense), ImageNet mean and deviation",
    representation="mean of all tokens, normalised: by fc_norm in fine-tuned files, without weights in pretrained ones"
    " (...-token-norm: mean of the tokens after the encoder's norm); 768 for base",
    published=(
        ("table4", "VideoMAE"),
        ("table4", "VideoMAE (YT-Temporal)"),
        ("table5", "VideoMAE (YT-Temporal)"),
        ("table7", "VideoMAE (YT-Temporal)"),
    ),
    reference="Tong et al., NeurIPS 2022",
    tensor_names=(
        "encoder.blocks.0.attn.q_bias",
        "encoder.blocks.0.attn.v_bias",
        "encoder_to_decoder.weight",
        "mask_token",
    ),
    shares_layout_with=("videomae2",),
)
FAMILY = masked_family(name="videomae", card=CARD, sizes=SIZES)
