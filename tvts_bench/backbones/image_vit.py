"""What the frame-averaged vision transformers share: the shape of one, and what another resolution changes."""

from dataclasses import dataclass

from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.file_family import HEAD_WIDTH
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The shape of a vision transformer; the defaults are ViT-B/16 at 224."""

    width: int = 768  # D
    depth: int = 12  # blocks
    patch_size: int = 16  # pixels
    grid: int = 14  # side of the table of positions; 0 where there is none
    hidden: int = 3072  # width inside the MLP; of both halves together where it is gated

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.width

    @property
    def resampling(self) -> str:
        """How the table of positions is resampled for other resolutions, in words."""
        return "bicubic, antialiased"

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // HEAD_WIDTH

    @property
    def mlp_ratio(self) -> float:
        """`hidden` and a half as a multiple of `width`: timm takes int(width * ratio), and rounding must lose none."""
        return (self.hidden + 0.5) / self.width

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{self.width}x{self.depth}"


def adaptations(name: str, size: ImageSize, own: ClipSpec, clip: ClipSpec) -> tuple[str, ...]:
    """What the backbone `name` changes to take `clip`, where `own` is what its authors evaluate with.

    Raises:
        BackboneError: the frames cannot be cut into patches.
    """
    if clip.crop % size.patch_size:
        raise BackboneError(
            f"backbone {name} takes crops that are a multiple of {size.patch_size} pixels, not {clip.crop}:"
            f" set the crop to {max(clip.crop // size.patch_size, 1) * size.patch_size}"
        )
    side = clip.crop // size.patch_size
    if clip.crop == own.crop or side == size.grid or not size.grid:
        return ()
    return (f"position table {size.grid} x {size.grid} resampled to {side} x {side}, {size.resampling}",)
