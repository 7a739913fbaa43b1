"""VideoMAE v2: the giant, and the small and base networks distilled from it; tensors named as in VideoMAE's files."""

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.joint_vit import JointFamily
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.masked_files import load_masked, possible_families, with_token_norm
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.joint_vit import JointViTConfig
from tvts_bench.video.spec import ClipSpec

SIZES = with_token_norm(
    {
        "base": JointViTConfig(),
        "small": JointViTConfig(embed_dim=384, num_heads=6, mlp_dim=1536),
        "giant": JointViTConfig(embed_dim=1408, depth=40, num_heads=16, mlp_dim=6144, patch_size=14),
        "tiny": JointViTConfig(embed_dim=128, depth=4, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
    }
)
VARIANTS = tuple(SIZES)
HUB = "https://huggingface.co/OpenGVLab/VideoMAE2/blob/main/"
CARD = FamilyCard(
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


def clip_spec(config: JointViTConfig) -> ClipSpec:
    """Frames in a row with stride 4, as its authors evaluate on Kinetics."""
    size = config.image_size
    return ClipSpec(num_frames=config.num_frames, sampling="dense", stride=4, short_side=size, crop=size)


FAMILY = JointFamily(name="videomae2", sizes=SIZES, clip=clip_spec)


def recognises(layout: Layout) -> bool:
    """Whether these are VideoMAE's tensors, and nothing shows that they are not of version 2."""
    return FAMILY.name in possible_families(layout)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.random(variant, seed) if checkpoint is None else load_masked(FAMILY, checkpoint, variant)
