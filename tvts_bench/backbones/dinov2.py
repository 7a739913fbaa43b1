"""DINOv2 over frames, from its official files: [CLS] after the final norm, positions resampled as its code does.

The table of positions is of 37 x 37 patches (518 pixels), so at 224 it is always resampled; timm's own resampling is
antialiased and gives other features than the official code's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.video.spec import ClipSpec

from timm.layers import Mlp, SwiGLUPacked  # type: ignore[attr-defined]  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip


@dataclass(frozen=True, kw_only=True)
class DINOv2Size(ImageSize):
    """The shape of a DINOv2; the defaults are ViT-B/14."""

    patch_size: int = 14
    grid: int = 37
    registers: int = 0
    gated: bool = False  # SwiGLU in the MLP

    @property
    def resampling(self) -> str:
        """How the table of positions is resampled for other resolutions, in words."""
        return super().resampling if self.registers else "bicubic by DINOv2's factor, not antialiased"


_PLAIN = {
    "base": DINOv2Size(),
    "small": DINOv2Size(width=384, hidden=1536),
    "large": DINOv2Size(width=1024, depth=24, hidden=4096),
    "giant": DINOv2Size(width=1536, depth=40, hidden=8192, gated=True),
    "tiny": DINOv2Size(width=128, depth=2, patch_size=8, grid=4, hidden=512),
}
SIZES = _PLAIN | {
    f"{name}_reg": DINOv2Size(**{**vars(size), "registers": 4}) for name, size in _PLAIN.items() if name != "tiny"
}
VARIANTS = tuple(SIZES)
URL = "https://dl.fbaipublicfiles.com/dinov2/"
CARD = FamilyCard(
    title="DINOv2",
    what="ViT trained by self-distillation on 142 million curated images; each frame on its own, averaged",
    weights={
        "dinov2_vits14_pretrain.pth": f"{URL}dinov2_vits14/dinov2_vits14_pretrain.pth",
        "dinov2_vitb14_pretrain.pth": f"{URL}dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        "dinov2_vitb14_reg4_pretrain.pth": f"{URL}dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
        "dinov2_vitl14_pretrain.pth": f"{URL}dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        "dinov2_vitg14_pretrain.pth": f"{URL}dinov2_vitg14/dinov2_vitg14_pretrain.pth",
    },
    licence="Apache-2.0",
    supervised=None,
    input="16 frames, centres of equal segments, short side 256 (bicubic), crop 224, ImageNet mean and deviation;"
    " the number of frames is ours",
    representation="[CLS] after the final norm (384, 768, 1024 or 1536), mean over frames",
    published=(),
    reference="Oquab et al., TMLR 2024",
    tensor_names=("mask_token", "pos_embed", "blocks.0.ls1.gamma", "blocks.0.ls2.gamma", "blocks.0.attn.qkv.bias"),
)
TRAINING_ONLY = ("mask_token",)
HEAD = ("head.",)  # the classifier of a fine-tuned file

RENAMED = (("register_tokens", "reg_token"), (".mlp.w12.", ".mlp.fc1."), (".mlp.w3.", ".mlp.fc2."))


class DINOv2Images(ImageNetwork):
    """timm's network with the official resampling: bicubic by a factor 0.1 patch too large, not antialiased.

    With registers the official code resamples to the exact size, antialiased.
    """

    def forward(self, images: Tensor) -> Tensor:
        """[CLS], [N, D], of images [N, 3, H, W]."""
        return self._features(images)[:, 0]

    def patch_tokens(self, images: Tensor) -> Tensor:
        """Patch tokens [N, P, D], registers left out."""
        return self._features(images)[:, self.vit.num_prefix_tokens :]

    def _features(self, images: Tensor) -> Tensor:
        """[CLS], registers and patch tokens after the final norm, [N, 1 + registers + P, D]."""
        vit = self.vit
        assert isinstance(vit, VisionTransformer)
        assert vit.pos_embed is not None
        patches = vit.patch_embed(images)  # [N, rows, columns, D]
        x = patches.flatten(1, 2) + resampled(vit.pos_embed, *patches.shape[1:3], exact=vit.num_reg_tokens > 0)
        prefix = [token.expand(len(x), -1, -1) for token in (vit.cls_token, vit.reg_token) if token is not None]
        return vit.norm(vit.blocks(torch.cat([*prefix, x], dim=1)))  # type: ignore[no-any-return]


def resampled(table: Tensor, rows: int, columns: int, *, exact: bool) -> Tensor:
    """Positions [1, rows * columns, D] from the square `table` [1, G * G, D].

    Args:
        table: of patches alone, without [CLS].
        rows: of patches wanted.
        columns: of patches wanted.
        exact: resample to this size, antialiased (files with registers), instead of by a factor that is a little
            larger than asked for, which shifts where the samples are taken.
    """
    side = round(table.shape[1] ** 0.5)
    if (rows, columns) == (side, side):
        return table
    square = table.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)  # [1, D, G, G]
    if exact:
        square = F.interpolate(square, size=(rows, columns), mode="bicubic", antialias=True)
    else:
        factors = ((rows + 0.1) / side, (columns + 0.1) / side)
        square = F.interpolate(square, scale_factor=factors, mode="bicubic")
    return square.flatten(2).transpose(1, 2).to(table.dtype)


def recognises(layout: Layout) -> bool:
    """Whether these are DINOv2's tensors: layer scale, a stored table of positions, a mask token for training."""
    return layout.has("mask_token", "pos_embed", "cls_token", "blocks.0.ls1.gamma", "blocks.0.attn.qkv.bias")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="dinov2",
        sizes=SIZES,
        tell=_size,
        build=build,
        convert=converted,
        unused=lambda name: name.startswith((*TRAINING_ONLY, *HEAD)),
        clip_spec=_clip_spec,
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def build(size: DINOv2Size) -> FrameAverage:
    """The network of that size; [CLS] has no place in its table of positions (its own is added to it beforehand)."""
    vit = VisionTransformer(
        img_size=size.grid * size.patch_size,
        patch_size=size.patch_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        init_values=1e-5,
        reg_tokens=size.registers,
        no_embed_class=True,
        num_classes=0,
        dynamic_img_size=True,
        mlp_layer=SwiGLUPacked if size.gated else Mlp,  # type: ignore[arg-type]  # timm passes this partial, too
        act_layer=nn.SiLU if size.gated else nn.GELU,
    )
    return FrameAverage(DINOv2Images(vit))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors as timm's network has them: the place of [CLS] in the table of positions is added to [CLS]."""
    ours = renamed(tensors, lambda name: f"image.vit.{replaced(name, RENAMED)}")
    table, cls_token = ours["image.vit.pos_embed"], ours.get("image.vit.cls_token")
    ours["image.vit.pos_embed"] = table[:, 1:]
    if cls_token is not None and cls_token.shape == table[:, :1].shape:  # else strict loading says what is wrong
        ours["image.vit.cls_token"] = cls_token.float() + table[:, :1].float()
    return ours


def _size(teller: SizeTeller) -> DINOv2Size:
    places = teller.shape("pos_embed", 3)[1] - 1  # [CLS] has one, too
    gated = any(".mlp.w12." in name for name in teller.tensors)
    return DINOv2Size(
        width=teller.width("norm.weight"),
        depth=teller.depth("blocks."),
        patch_size=teller.shape("patch_embed.proj.weight", 4)[-1],
        grid=teller.grid(places, "pos_embed"),
        hidden=teller.hidden("blocks.", ".mlp.w12.bias" if gated else ".mlp.fc1.bias"),
        registers=teller.shape("register_tokens", 3)[1] if "register_tokens" in teller.tensors else 0,
        gated=gated,
    )


def _clip_spec(size: DINOv2Size) -> ClipSpec:
    crop = min(224, size.grid * size.patch_size)
    return ClipSpec(short_side=256 if crop == 224 else crop, crop=crop, interpolation="bicubic")
