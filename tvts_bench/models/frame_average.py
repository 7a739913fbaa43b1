"""Image networks over the frames of a clip: each frame on its own, then the mean of the frames' embeddings.

The mean is taken last, of the vectors an image would be represented by (after pooling, norm and projection), none of
them normalised. Such a network sees appearance and no order of frames.
"""

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.models.video_network import NetworkConfig, VideoNetworkError

from timm.models.vision_transformer import VisionTransformer  # isort: skip

BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class ImageConfig(NetworkConfig):
    """The shape of a vision transformer for images; the defaults are ViT-B/16 at 224."""

    resampling: str = "bicubic, antialiased"  # of its table of positions, for other resolutions; "" without a table

    @property
    def crop(self) -> int:
        """Pixels, height and width, that its authors evaluate with."""
        return self.image_size

    @property
    def mlp_ratio(self) -> float:
        """`mlp_dim` and a half as a multiple of `width`: timm takes int(width * ratio), and rounding must lose none."""
        return (self.mlp_dim + 0.5) / self.width

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """What another resolution changes of the table of positions; frames are taken one by one."""
        if pixels % self.patch_size:
            raise VideoNetworkError(
                f"it takes crops that are a multiple of {self.patch_size} pixels, not {pixels}:"
                f" set the crop to {max(pixels // self.patch_size, 1) * self.patch_size}"
            )
        side = pixels // self.patch_size
        if pixels == self.crop or side == self.grid or not self.resampling:
            return ()
        return (f"position table {self.grid} x {self.grid} resampled to {side} x {side}, {self.resampling}",)


def timm_vit(config: ImageConfig, **options: Any) -> VisionTransformer:
    """The vision transformer of that shape, timm's, without a classifier, for any resolution; randomly initialised.

    Args:
        config: the shape.
        options: what else its constructor is given.
    """
    return VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        num_classes=0,
        dynamic_img_size=True,
        **options,
    )


class ImageNetwork(nn.Module):
    """A vision transformer of timm, and what comes after its pooling (nothing, or a projection)."""

    def __init__(self, vit: nn.Module, head: nn.Module | None = None) -> None:
        """Holds both.

        Args:
            vit: timm's `VisionTransformer` or `Eva`, without a classifier.
            head: applied to the pooled embedding and to each patch token.
        """
        super().__init__()
        self.vit = vit
        self.head = head or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings [N, D] of images [N, 3, H, W]."""
        return self.head(self.vit(images))  # type: ignore[no-any-return]

    def patch_tokens(self, images: Tensor) -> Tensor:
        """Patch tokens [N, P, D] after the final norm, row by row, of images [N, 3, H, W]."""
        tokens = self.vit.forward_features(images)  # type: ignore[operator]
        return self.head(tokens[:, self.vit.num_prefix_tokens :])  # type: ignore[no-any-return]

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for the stem, i + 1 for block i, then one more for what follows."""
        if block := BLOCK.search(name):
            return int(block[1]) + 1
        after = name.startswith(("head.", "vit.norm.", "vit.fc_norm.", "vit.attn_pool.", "vit.head."))
        return len(self.vit.blocks) + 1 if after else 0  # type: ignore[arg-type]


class FrameAverage(nn.Module):
    """The mean over time of an image network's embeddings."""

    def __init__(self, image: nn.Module) -> None:
        """Holds `image`, which maps images [N, 3, H, W] to embeddings [N, D]."""
        super().__init__()
        self.image = image

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of clips [B, 3, T, H, W], any T."""
        embeddings: Tensor = self.image(frames_of(clips))
        return embeddings.unflatten(0, (len(clips), -1)).mean(dim=1)  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """All frames' patch tokens, one frame after the other: [B, T * P, D] of clips [B, 3, T, H, W]."""
        tokens: Tensor = self.image.patch_tokens(frames_of(clips))  # type: ignore[operator]
        return tokens.unflatten(0, (len(clips), -1)).flatten(1, 2)  # type: ignore[no-any-return]

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`, as the image network has it."""
        return self.image.layer_of(name.removeprefix("image."))  # type: ignore[operator,no-any-return]


def frames_of(clips: Tensor) -> Tensor:
    """The frames of clips [B, 3, T, H, W] as images [B * T, 3, H, W], clip after clip."""
    return clips.transpose(1, 2).flatten(0, 1)
