"""What vision networks have in common: the shape of one, and clips to embeddings and tokens."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor, nn

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

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """What the network does to its positions for `frames` frames of `pixels` x `pixels`, a sentence each.

        Raises:
            VideoNetworkError: it cannot take such clips.
        """
        raise NotImplementedError


class VideoNetwork(nn.Module):
    """The contract: `forward` takes clips [B, 3, T, H, W] and returns embeddings [B, D]."""

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of clips [B, 3, T, H, W]."""
        raise NotImplementedError

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, D], time-major."""
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for the stem, i + 1 for block i, depth + 1 for what follows the blocks."""
        raise NotImplementedError


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


def check_clips(clips: Tensor, patch_size: int) -> None:
    """Refuse clips that are no [B, 3, T, H, W] of whole patches.

    Raises:
        VideoNetworkError: with what they are, and the way out.
    """
    if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] == 0:
        raise VideoNetworkError(f"clips must be [batch, 3, frames, height, width], got {list(clips.shape)}")
    check_pixels(clips.shape[3], clips.shape[4], patch_size)


def check_pixels(height: int, width: int, patch_size: int) -> None:
    """Refuse frames of `height` x `width` pixels that are not whole patches.

    Raises:
        VideoNetworkError: with the way out.
    """
    if min(height, width) < patch_size or height % patch_size or width % patch_size:
        raise VideoNetworkError(
            f"this network cuts frames into patches of {patch_size} x {patch_size} pixels, got {height} x {width}:"
            f" set the crop to a multiple of {patch_size}"
        )
