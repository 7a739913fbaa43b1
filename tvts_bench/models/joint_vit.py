"""The video ViT of VideoMAE, VideoMAE v2, UMT and V-JEPA: joint space-time attention, fixed positions, no [CLS].

The four differ in how positions are made and resampled, and in whether the final norm comes before or after the mean
over tokens. Parameter names are the official ones (`patch_embed.proj`, `blocks.<i>.*`, `norm`, and `pos_embed` where
positions are stored), but for VideoMAE's two separate biases, which are one here (`qkv.bias`), and its `fc_norm`, which
is `norm`. Written from the papers and the names in the files; blocks are timm's.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tvts_bench.models.video_network import VideoNetwork, VideoNetworkError, check_shape, interpolated
from tvts_bench.models.vit import TubeletEmbed

Grid = tuple[int, int, int]
"""Tokens along time, rows and columns."""
Positions = Literal["sinusoid", "stored"]
Resampling = Literal["recomputed", "bicubic_linear", "trilinear"]
Pooling = Literal["norm_of_mean", "mean_of_norm"]


@dataclass(frozen=True, kw_only=True)
class JointViTConfig:
    """The shape of the network. The defaults are VideoMAE's base encoder."""

    embed_dim: int = 768  # D
    depth: int = 12  # blocks
    num_heads: int = 12
    mlp_dim: int = 3072  # hidden width of a block's MLP
    image_size: int = 224  # pixels, height and width of the clips it was trained with
    patch_size: int = 16  # pixels
    num_frames: int = 16  # of the clips it was trained with
    tubelet: int = 2  # frames that share a token
    positions: Positions = "sinusoid"  # one-dimensional, over all tokens in order; or a table of the file
    resampling: Resampling = "recomputed"  # for clips of another size: sinusoids of the new length, or interpolation
    pooling: Pooling = "norm_of_mean"
    affine_norm: bool = True  # whether the final norm has weights
    norm_eps: float = 1e-6  # of all norms

    def __post_init__(self) -> None:
        """Refuse what no network can have."""
        check_shape(
            self,
            ("embed_dim", "depth", "num_heads", "mlp_dim", "image_size", "patch_size", "num_frames", "tubelet"),
            (("embed_dim", "num_heads"), ("image_size", "patch_size"), ("num_frames", "tubelet")),
        )
        if not 0 <= self.norm_eps < 1:
            raise VideoNetworkError(f"norm_eps must be in 0..1, got {self.norm_eps}")
        if self.positions == "stored" and self.resampling == "recomputed":
            raise VideoNetworkError("a stored table of positions cannot be recomputed: choose how it is resampled")

    @property
    def grid(self) -> Grid:
        """Tokens of the clips it was trained with."""
        return self.grid_of(self.num_frames, self.image_size, self.image_size)

    def grid_of(self, frames: int, height: int, width: int) -> Grid:
        """Tokens of a clip along time, rows and columns.

        Args:
            frames: of the clip.
            height: pixels.
            width: pixels.

        Raises:
            VideoNetworkError: they are not whole tubelets and patches.
        """
        if frames <= 0 or frames % self.tubelet:
            raise VideoNetworkError(f"this network takes a multiple of {self.tubelet} frames, got {frames}")
        if min(height, width) <= 0 or height % self.patch_size or width % self.patch_size:
            raise VideoNetworkError(
                f"this network takes frames whose sides are multiples of {self.patch_size} pixels,"
                f" got {height} x {width}: choose another crop"
            )
        return frames // self.tubelet, height // self.patch_size, width // self.patch_size

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{self.embed_dim}x{self.depth}"

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """What happens to the positions for clips of `frames` frames of `pixels` x `pixels`, a sentence each.

        Raises:
            VideoNetworkError: the network cannot take such clips.
        """
        own, wanted = self.grid, self.grid_of(frames, pixels, pixels)
        if own == wanted:
            return ()
        of, to = (" x ".join(map(str, grid)) for grid in (own, wanted))
        if self.resampling == "recomputed":
            return (f"sinusoid positions computed for {to} tokens (time x rows x columns) in place of {of}",)
        if self.resampling == "trilinear":
            return (f"position table {of} (time x rows x columns) resampled to {to}, trilinear",)
        space = "bicubic in space" if own[1:] != wanted[1:] else ""
        time = "linear in time" if own[0] != wanted[0] else ""
        how = " and ".join(filter(None, (space, time)))
        return (f"position table {of} (time x rows x columns) resampled to {to}, {how}",)


class JointViT(VideoNetwork):
    """The network, initialised from torch's random state."""

    def __init__(self, config: JointViTConfig) -> None:
        """Randomly initialised."""
        super().__init__(config.depth)
        self.config = config
        dim = config.embed_dim
        self.patch_embed = TubeletEmbed(dim, config.tubelet, config.patch_size)
        if config.positions == "stored":
            # A buffer: the official tables are fixed, so fine-tuning must leave them alone.
            table = torch.empty(1, math.prod(config.grid), dim)
            self.register_buffer("pos_embed", table if table.is_meta else sinusoid(math.prod(config.grid), dim).clone())
        norm_layer = partial(nn.LayerNorm, eps=config.norm_eps)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                mlp_ratio=(config.mlp_dim + 0.5) / dim,  # timm rounds dim * mlp_ratio down
                qkv_bias=True,
                norm_layer=norm_layer,  # type: ignore[arg-type]  # timm's own models pass a partial, too
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps, elementwise_affine=config.affine_norm)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv3d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of normalised clips [B, 3, T, H, W].

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        x = self._encoded(clips)
        pooled: Tensor = self.norm(x.mean(1)) if self.config.pooling == "norm_of_mean" else self.norm(x).mean(1)
        return pooled

    def tokens(self, clips: Tensor) -> Tensor:
        """What `forward` takes the mean of, [B, N, D], time-major, then rows, then columns."""
        x = self._encoded(clips)
        return x if self.config.pooling == "norm_of_mean" else self.norm(x)

    def _encoded(self, clips: Tensor) -> Tensor:
        """Tokens after the last block, [B, N, D]."""
        if clips.ndim != 5 or clips.shape[1] != 3:
            raise VideoNetworkError(f"clips must be [batch, 3, frames, height, width], got {list(clips.shape)}")
        frames, height, width = clips.shape[2:]
        grid = self.config.grid_of(frames, height, width)
        # In the weights' precision, not that of autocast: the residual stream keeps it from here on.
        positions = self._positions(grid).to(clips.device, self.patch_embed.proj.weight.dtype)
        x = self.patch_embed(clips) + positions
        for block in self.blocks:
            x = block(x)
        return x  # type: ignore[no-any-return]

    def _positions(self, grid: Grid) -> Tensor:
        """Positions for tokens of `grid`, [1, N, D]."""
        config = self.config
        if config.resampling == "recomputed":
            return sinusoid(math.prod(grid), config.embed_dim)
        table = self.pos_embed if config.positions == "stored" else sinusoid(math.prod(config.grid), config.embed_dim)
        assert isinstance(table, Tensor)
        if grid == config.grid:
            return table
        return resampled(table, config.grid, grid, how=config.resampling)


@lru_cache(maxsize=8)
def sinusoid(positions: int, dim: int) -> Tensor:
    """Fixed position table [1, positions, dim], float32, on the CPU; shared by all who ask, so never to be written to.

    Entry 2i is sin(p / 10000^(2i / dim)), entry 2i + 1 the cosine of the same angle (Vaswani et al., 2017), computed in
    double precision.
    """
    with torch.inference_mode(False), torch.device("cpu"):
        entry = torch.arange(dim)
        angle = torch.arange(positions).double()[:, None] / 10000 ** (2 * (entry // 2).double() / dim)
        return torch.where(entry % 2 == 0, angle.sin(), angle.cos()).float()[None]


def resampled(table: Tensor, own: Grid, wanted: Grid, *, how: Resampling) -> Tensor:
    """Position table [1, N, D] of grid `own` for grid `wanted`, interpolated as the official code of its family does.

    Corners are not aligned in either way.

    Args:
        table: of positions.
        own: its grid.
        wanted: the grid of the result.
        how: "bicubic_linear" (UMT) resamples space first, without antialiasing, and time after it; "trilinear" (V-JEPA)
            all at once.
    """
    assert how != "recomputed"
    if how == "trilinear":
        return interpolated(table, own, wanted, mode="trilinear")
    frames: Tensor = table[0].unflatten(0, (own[0], -1))  # [t, h * w, D]
    if own[1:] != wanted[1:]:
        frames = interpolated(frames, own[1:], wanted[1:], mode="bicubic")
    if own[0] != wanted[0]:
        frames = interpolated(frames.transpose(0, 1), own[:1], wanted[:1], mode="linear").transpose(0, 1)
    return frames.flatten(0, 1)[None]
