"""DINOv2 over frames, from its official files: [CLS] after the final norm, positions resampled as its code does.

The table of positions is of 37 x 37 patches (518 pixels), so at 224 it is always resampled; timm's own resampling is
antialiased and gives other features than the official code's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.models.video_network import FrameAverage, ImageConfig, ImageNetwork, interpolated, timm_vit

from timm.layers import Mlp, SwiGLUPacked  # type: ignore[attr-defined]  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

BY_FACTOR = "bicubic by DINOv2's factor, not antialiased"  # how the table of positions is resampled, without registers


@dataclass(frozen=True, kw_only=True)
class DINOv2Config(ImageConfig):
    """The shape of a DINOv2; the defaults are ViT-B/14. `mlp_dim` is of both halves together where it is gated."""

    patch_size: int = 14
    image_size: int = 518
    resampling: str = BY_FACTOR
    registers: int = 0
    gated: bool = False  # SwiGLU in the MLP

    @property
    def crop(self) -> int:
        """224 pixels, whatever the table of positions is for; less for toys."""
        return min(224, self.image_size)


_PLAIN = {
    "base": DINOv2Config(),
    "small": DINOv2Config(width=384, num_heads=6, mlp_dim=1536),
    "large": DINOv2Config(width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "giant": DINOv2Config(width=1536, depth=40, num_heads=24, mlp_dim=8192, gated=True),
    "tiny": DINOv2Config(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32),
}
EXACT = ImageConfig().resampling  # with registers
SIZES = _PLAIN | {
    f"{name}_reg": replace(size, registers=4, resampling=EXACT) for name, size in _PLAIN.items() if name != "tiny"
}
URL = "https://dl.fbaipublicfiles.com/dinov2/"
CARD = ModelCard(
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
    factors = ((rows + 0.1) / side, (columns + 0.1) / side)
    how: dict[str, Any] = {"antialias": True} if exact else {"size": None, "scale_factor": factors}
    return interpolated(table.float(), (side, side), (rows, columns), mode="bicubic", **how).to(table.dtype)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are DINOv2's tensors: layer scale, a stored table of positions, a mask token for training."""
    return signature.has("mask_token", "pos_embed", "cls_token", "blocks.0.ls1.gamma", "blocks.0.attn.qkv.bias")


def infer_config(reader: ConfigReader) -> DINOv2Config:
    """The shape of a network, its registers and whether its MLP is gated."""
    gated = any(".mlp.w12." in name for name in reader.tensors)
    registers = reader.shape("register_tokens", 3)[1] if "register_tokens" in reader.tensors else 0
    return DINOv2Config(
        **reader.vit(SIZES, mlp=".mlp.w12.bias" if gated else ".mlp.fc1.bias"),
        resampling=EXACT if registers else BY_FACTOR,
        registers=registers,
        gated=gated,
    )


def build(config: DINOv2Config) -> FrameAverage:
    """The network of that shape; [CLS] has no place in its table of positions (its own is added to it beforehand)."""
    vit = timm_vit(
        config,
        init_values=1e-5,
        reg_tokens=config.registers,
        no_embed_class=True,
        mlp_layer=SwiGLUPacked if config.gated else Mlp,
        act_layer=nn.SiLU if config.gated else nn.GELU,
    )
    return FrameAverage(DINOv2Images(vit))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors as timm's network has them: the place of [CLS] in the table of positions is added to [CLS]."""
    ours = dict(tensors)
    table, cls_token = ours["pos_embed"], ours.get("cls_token")
    ours["pos_embed"] = table[:, 1:]
    if cls_token is not None and cls_token.shape == table[:, :1].shape:  # else strict loading says what is wrong
        ours["cls_token"] = cls_token.float() + table[:, :1].float()
    return ours


FAMILY = Family(
    name="dinov2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=build,
    names=RENAMED,
    convert=converted,
    inside="image.vit.",
    clip_spec=lambda config: square_clip(config, short_sides={224: 256}, crop=config.crop, interpolation="bicubic"),
    ignore=r"mask_token|head\.",  # for training, and the classifier of a fine-tuned file
)
