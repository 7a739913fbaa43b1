"""DINOv3 over frames, from its official files: [CLS] after the final norm, rotary positions, four registers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import HEAD_WIDTH, FileFamily, SizeTeller
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.video.spec import ClipSpec

from timm.models.eva import Eva  # isort: skip


@dataclass(frozen=True, kw_only=True)
class DINOv3Size(ImageSize):
    """The shape of a DINOv3; the defaults are ViT-B/16. There is no table of positions."""

    grid: int = 0
    registers: int = 4
    gated: bool = False  # SwiGLU in the MLP, `hidden` wide
    head_width: int = HEAD_WIDTH

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // self.head_width


SIZES = {
    "base": DINOv3Size(),
    "small": DINOv3Size(width=384, hidden=1536),
    "small_plus": DINOv3Size(width=384, hidden=1536, gated=True),
    "large": DINOv3Size(width=1024, depth=24, hidden=4096),
    "huge_plus": DINOv3Size(width=1280, depth=32, hidden=5120, gated=True),
    "tiny": DINOv3Size(width=128, depth=2, patch_size=8, hidden=512),
}
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
    title="DINOv3",
    what="ViT trained by self-distillation on 1.7 billion curated images; each frame on its own, averaged",
    weights={
        "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth": "after agreeing to its licence, from"
        " https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
    },
    licence="DINOv3 licence (custom; asks for agreement)",
    supervised=None,
    input="16 frames of 256 x 256, centres of equal segments, bicubic, ImageNet mean and deviation;"
    " the number of frames is ours",
    representation="[CLS] after the final norm (384, 768, 1024 or 1280), mean over frames",
    published=(),
    reference="Siméoni et al., 2025",
    tensor_names=("storage_tokens", "rope_embed.periods", "blocks.0.attn.qkv.bias_mask", "blocks.0.ls1.gamma"),
)
TRAINING_ONLY = ("mask_token", "local_cls_norm.", "projectors.")
HEAD = ("head.",)  # the classifier of a fine-tuned file
FIXED = ("rope_embed.periods", ".bias_mask")  # constants that timm's network has in its code
RENAMED = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)


def recognises(layout: Layout) -> bool:
    """Whether these are DINOv3's tensors: registers called storage tokens, and the periods of rotary positions."""
    return layout.has("storage_tokens", "rope_embed.periods", "blocks.0.attn.qkv.weight")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="dinov3",
        sizes=SIZES,
        tell=_size,
        build=build,
        convert=converted,
        unused=lambda name: name.startswith((*TRAINING_ONLY, *HEAD)) or name.endswith(FIXED),
        clip_spec=_clip_spec,
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def build(size: DINOv3Size) -> FrameAverage:
    """timm's network of that size, with [CLS] (timm's default is the mean of patches) and query and value biases."""
    vit = Eva(
        img_size=224,  # of no consequence: positions are made for the images that come
        patch_size=size.patch_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        swiglu_mlp=size.gated,
        swiglu_align_to=1 if size.gated else 0,  # any: keeps gate and value apart, as the files have them
        init_values=1e-5,
        num_reg_tokens=size.registers,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        use_fc_norm=False,
        global_pool="token",
        num_classes=0,
        dynamic_img_size=True,
    )
    return FrameAverage(ImageNetwork(vit))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors as timm's network has them; keys have no bias in either (a mask takes it away in the file's)."""
    ours = {}
    for name, tensor in renamed(tensors, lambda name: f"image.vit.{replaced(name, RENAMED)}").items():
        if name.endswith(".attn.qkv.bias") and tensor.ndim == 1 and len(tensor) % 3 == 0:
            attn = name.removesuffix("qkv.bias")
            ours[f"{attn}q_bias"], _, ours[f"{attn}v_bias"] = tensor.chunk(3)
        else:
            ours[name] = tensor
    return ours


def _size(teller: SizeTeller) -> DINOv3Size:
    gated = any(".mlp.w1." in name for name in teller.tensors)
    return DINOv3Size(
        width=teller.width("norm.weight"),
        depth=teller.depth("blocks."),
        patch_size=teller.shape("patch_embed.proj.weight", 4)[-1],
        hidden=teller.hidden("blocks.", ".mlp.w1.bias" if gated else ".mlp.fc1.bias"),
        registers=teller.shape("storage_tokens", 3)[1],
        gated=gated,
        head_width=4 * teller.shape("rope_embed.periods", 1)[0],  # sine and cosine of two axes
    )


def _clip_spec(size: DINOv3Size) -> ClipSpec:
    crop = 256 if size.patch_size == 16 else 4 * size.patch_size  # the latter for toy sizes
    return ClipSpec(short_side=crop, crop=crop, interpolation="bicubic")
