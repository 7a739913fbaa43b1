"""What vision networks have in common: their shape, clips to embeddings and tokens; and image networks over frames.

Of image networks each frame is taken on its own, then the mean of the frames' embeddings: of the vectors an image would
be represented by (after pooling, norm and projection), none of them normalised. They see appearance and no order of
frames.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from timm.layers import trunc_normal_  # type: ignore[attr-defined]
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench.errors import UserError


class VideoNetworkError(UserError):
    """A size that a network cannot have, or clips that it cannot take."""


def check_shape(config: object, positive: Iterable[str], multiples: Iterable[tuple[str, str]]) -> None:
    """Refuse fields of a network's configuration that no network can have.

    Args:
        config: has the fields.
        positive: names of the fields that count something.
        multiples: pairs of fields of which the first must be a multiple of the second.

    Raises:
        VideoNetworkError: with the field and its value.
    """
    for name in positive:
        if getattr(config, name) <= 0:
            raise VideoNetworkError(f"{name} must be positive, got {getattr(config, name)}")
    for whole, part in multiples:
        if getattr(config, whole) % getattr(config, part):
            raise VideoNetworkError(
                f"{whole} must be a multiple of {part}, got {getattr(config, whole)} and {getattr(config, part)}"
            )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The shape of a vision transformer with square patches. The defaults are ViT-B/16 at 224."""

    width: int = 768  # D, of tokens
    depth: int = 12  # blocks
    num_heads: int = 12
    mlp_dim: int = 3072  # width inside a block's MLP
    image_size: int = 224  # pixels, height and width of the clips it was trained with
    patch_size: int = 16  # pixels
    num_frames: int = field(default=16, compare=False)  # of those clips; a longer table makes no other size

    def __post_init__(self) -> None:
        """Refuse what no network can have."""
        check_shape(
            self,
            ("width", "depth", "num_heads", "mlp_dim", "image_size", "patch_size", "num_frames"),
            (("width", "num_heads"), ("image_size", "patch_size")),
        )

    @property
    def grid(self) -> int:
        """Patches along one side of a frame."""
        return self.image_size // self.patch_size

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.width

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{self.width}x{self.depth}"


class VideoNetwork(nn.Module):
    """A network of blocks: `forward` takes clips [B, 3, T, H, W] and returns embeddings [B, D]."""

    BLOCKS = "blocks."  # what names of blocks start with, before their number
    AFTER: tuple[str, ...] = ("norm.",)  # what names of parameters behind the blocks start with

    def __init__(self, depth: int) -> None:
        """Without any part yet.

        Args:
            depth: blocks.
        """
        super().__init__()
        self.depth = depth

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for the stem, i + 1 for block i, depth + 1 for what follows the blocks."""
        return block_depth(name, self.depth, self.BLOCKS, self.AFTER)

    def reset_parameters(self) -> None:
        """Draw all weights anew: normal, std 0.02, for matrices, then tables; biases zero, norms as they are."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for table in self.parameters(recurse=False):
            trunc_normal_(table, std=0.02)


def block_depth(name: str, depth: int, blocks: str = "blocks.", after: tuple[str, ...] = ("norm.",)) -> int:
    """Depth of the parameter `name`: 0 for the stem, i + 1 for block i, `depth` + 1 for what follows the blocks.

    Args:
        name: as the network has it.
        depth: blocks.
        blocks: what names of blocks start with, before their number.
        after: what names of parameters behind the blocks start with.
    """
    if name.startswith(blocks):
        return int(name.removeprefix(blocks).partition(".")[0]) + 1
    return depth + 1 if name.startswith(after) else 0


def interpolated(table: Tensor, own: tuple[int, ...], wanted: tuple[int, ...], **how: Any) -> Tensor:
    """Positions [B, N, D] of a grid of N places, for another grid.

    Args:
        table: the positions, the grid's last axis fastest.
        own: places along each axis of the grid.
        wanted: those of the other grid.
        how: what else `torch.nn.functional.interpolate` is given.
    """
    grid = table.mT.unflatten(2, own)  # [B, D, *own]
    return F.interpolate(grid, **{"size": wanted, **how}).flatten(2).mT


def check_clips(clips: Tensor, patch_size: int) -> None:
    """Refuse clips that are no [B, 3, T, H, W] of whole patches.

    Raises:
        VideoNetworkError: with what they are, and the way out.
    """
    if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] == 0:
        raise VideoNetworkError(f"clips must be [batch, 3, frames, height, width], got {list(clips.shape)}")
    check_pixels(clips.shape[3], clips.shape[4], patch_size)


def check_pixels(height: int, width: int, patch_size: int) -> None:
    """Refuse frames that are not whole patches.

    Args:
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        patch_size: side of a patch, in pixels.

    Raises:
        VideoNetworkError: with the way out.
    """
    if min(height, width) < patch_size or height % patch_size or width % patch_size:
        raise VideoNetworkError(
            f"this network cuts frames into patches of {patch_size} x {patch_size} pixels, got {height} x {width}:"
            f" set the crop to a multiple of {patch_size}"
        )


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


def image_vit(config: ImageConfig, head: nn.Module | None = None, **options: Any) -> "FrameAverage":
    """Timm's vision transformer of that shape over frames.

    Args:
        config: the shape.
        head: as `ImageNetwork` takes it.
        options: what else its constructor is given.
    """
    return FrameAverage(ImageNetwork(timm_vit(config, **options), head))


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
        after = ("head.", "vit.norm.", "vit.fc_norm.", "vit.attn_pool.", "vit.head.")
        return block_depth(name, len(self.vit.blocks), "vit.blocks.", after)  # type: ignore[arg-type]


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


class FramesFirst(nn.Module):
    """A network whose clips are [B, T, 3, H, W], under our layout of them."""

    def __init__(self, encoder: nn.Module) -> None:
        """Holds `encoder`, which has `patch_tokens` and `layer_of`, too."""
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of clips [B, 3, T, H, W]."""
        return self.encoder(clips.transpose(1, 2))  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, D] of clips [B, 3, T, H, W]."""
        return self.encoder.patch_tokens(clips.transpose(1, 2))  # type: ignore[no-any-return,operator]

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`, as the network has it."""
        return self.encoder.layer_of(name.removeprefix("encoder."))  # type: ignore[no-any-return,operator]


def frames_of(clips: Tensor) -> Tensor:
    """The frames of clips [B, 3, T, H, W] as images [B * T, 3, H, W], clip after clip."""
    return clips.transpose(1, 2).flatten(0, 1)
