"""What MoCo v3 and MAE share: timm's plain vision transformer over frames, [CLS] after the final norm."""

from collections.abc import Mapping

from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.image_vit import ImageSize
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.video.spec import ClipSpec

from timm.models.vision_transformer import VisionTransformer  # isort: skip

TYPICAL = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.bias", "norm.weight")


def build(size: ImageSize) -> FrameAverage:
    """timm's network of that size, randomly initialised."""
    vit = VisionTransformer(
        img_size=size.grid * size.patch_size,
        patch_size=size.patch_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        num_classes=0,
        dynamic_img_size=True,
    )
    return FrameAverage(ImageNetwork(vit))


def told(teller: SizeTeller, prefix: str = "") -> dict[str, int]:
    """The fields of `ImageSize`, from tensors that are called `prefix` and timm's name.

    Raises:
        CheckpointMismatchError: a tensor that tells one is missing or odd.
    """
    places = teller.shape(f"{prefix}pos_embed", 3)[1] - 1  # [CLS] has one, too
    return {
        "width": teller.width(f"{prefix}norm.weight"),
        "depth": teller.depth(f"{prefix}blocks."),
        "patch_size": teller.shape(f"{prefix}patch_embed.proj.weight", 4)[-1],
        "grid": teller.grid(places, f"{prefix}pos_embed"),
        "hidden": teller.hidden(f"{prefix}blocks.", ".mlp.fc1.bias"),
    }


def converted(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """`tensors` by the network's names; where some have `prefix`, one without it stays unknown."""
    return {f"image.vit.{n.removeprefix(prefix)}" if n.startswith(prefix) else n: t for n, t in tensors.items()}


def is_plain(layout: Layout) -> bool:
    """Whether the tensors are those of an image transformer with [CLS] and nothing that others have."""
    return (
        layout.has(*TYPICAL)
        and len(layout.shapes["patch_embed.proj.weight"]) == 4
        and not layout.has("blocks.0.ls1.gamma")
        and not layout.has("temporal_embed")
        and not layout.has("time_embed")
        and not layout.starts("blocks.0.timeattn.", "blocks.0.temporal_attn.", "blocks.0.crossattn.")
    )


def clip_spec(size: ImageSize) -> ClipSpec:
    """16 frames spread over the video; the short side is 256/224 of the crop, as for ImageNet."""
    crop = size.grid * size.patch_size
    return ClipSpec(short_side=crop * 256 // 224, crop=crop)
