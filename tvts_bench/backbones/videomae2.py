"""VideoMAE v2: the giant, and the small and base networks distilled from it; tensors named as in VideoMAE's files."""

from functools import partial

from tvts_bench.backbones import ModelCard, square_clip
from tvts_bench.backbones._conversion.videomae import masked_family
from tvts_bench.models.joint_vit import JointViTConfig

SIZES = {
    "base": JointViTConfig(),
    "small": JointViTConfig(embed_dim=384, num_heads=6, mlp_dim=1536),
    "giant": JointViTConfig(embed_dim=1408, depth=40, num_heads=16, mlp_dim=6144, patch_size=14),
    "tiny": JointViTConfig(embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
}
HUB = "https://huggingface.co/OpenGVLab/VideoMAE2/blob/main/"
CARD = ModelCard(
    title="VideoMAE v2",
    what="VideoMAE with masking in the decoder, too, scaled up; small and base are distilled from the giant",
    weights={
        "vit_b_k710_dl_from_giant.pth": f"{HUB}distill/vit_b_k710_dl_from_giant.pth",
        "vit_s_k710_dl_from_giant.pth": f"{HUB}distill/vit_s_k710_dl_from_giant.pth",
        "vit_g_hybrid_pt_1200e.pth and fine-tuned ones": f"{HUB}mae-g",
    },
    licence="code MIT; weights CC BY-NC 4.0 on some model cards, Apache-2.0 on another: treat them as non-commercial",
    supervised="Kinetics-710 classes in the distilled and fine-tuned files (small and base: all); none in the"
    " pretrained giant",
    input="16 frames with stride 4 of 224 x 224, ImageNet mean and deviation",
    representation="mean of all tokens, normalised: by fc_norm in distilled and fine-tuned files, without weights in"
    " pretrained ones (...-token-norm: mean of the tokens after the encoder's norm); 768 for base, 1408 for giant",
    published=(),
    reference="Wang et al., CVPR 2023",
    tensor_names=("blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "fc_norm.weight", "head.weight"),
    shares_layout_with=("videomae",),
)
FAMILY = masked_family(
    name="videomae2", card=CARD, sizes=SIZES, clip_spec=partial(square_clip, sampling="dense", stride=4)
)
