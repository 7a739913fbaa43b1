"""The one video transformer: TVTS's encoder, used frozen by backbones and trained by pretraining.

Joint space-time attention over tubelets (Zeng et al., CVPR 2023, section 3.3; positions as in the official code).
Parameter names are those of the official files: `cls_token`, `pos_embed`, `temporal_embed`, `patch_embed.proj`,
`blocks.<i>.*` (timm's names) and `norm`.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Self

import torch
from timm.models.vision_transformer import Attention, Block  # type: ignore[attr-defined]  # Attention moves about
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench.config_fields import Option
from tvts_bench.models.video_network import VideoNetworkError, block_depth, check_shape

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoTransformerConfig:
    """The shape of the network, and what regularises it in training. The defaults are the paper's encoder."""

    embed_dim: Annotated[int, Option("Width (D).", most=65_536)] = 768
    depth: Annotated[int, Option("Blocks.", most=1_000)] = 12
    num_heads: Annotated[int, Option("Heads of attention.")] = 12
    image_size: Annotated[int, Option("Pixels, height and width of a clip.", most=8_192)] = 224
    patch_size: Annotated[int, Option("Pixels.")] = 16
    num_frames: Annotated[
        int, Option("The most frames a clip may have; temporal_embed has num_frames / tubelet entries.", most=4_096)
    ] = 16
    tubelet: Annotated[int, Option("Frames that share a token.")] = 2
    mlp_ratio: Annotated[int, Option("Hidden width of a block's MLP / embed_dim.", most=64)] = 4
    drop_path: Annotated[float, Option("Stochastic depth of the last block; rises linearly from 0 at the first.")] = 0.0

    def __post_init__(self) -> None:
        """Refuse what no network can have."""
        check_shape(
            self,
            ("embed_dim", "depth", "num_heads", "image_size", "patch_size", "num_frames", "tubelet", "mlp_ratio"),
            (("embed_dim", "num_heads"), ("image_size", "patch_size"), ("num_frames", "tubelet")),
        )
        if not 0 <= self.drop_path < 1:
            raise VideoNetworkError(f"drop_path must be in [0, 1), got {self.drop_path}")

    @property
    def grid(self) -> int:
        """Patches along one side of a frame."""
        return self.image_size // self.patch_size

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{self.embed_dim}x{self.depth}"

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Shorter clips use the first temporal embeddings, as the official code does.

        Raises:
            VideoNetworkError: other pixels, an odd number of frames, or more than the network was made for.
        """
        if pixels != self.image_size:
            raise VideoNetworkError(
                f"it takes crops of {self.image_size} pixels, not {pixels}: leave the crop at {self.image_size}"
            )
        if frames % self.tubelet or frames > self.num_frames:
            raise VideoNetworkError(
                f"it takes a multiple of {self.tubelet} frames up to {self.num_frames}, not {frames}"
            )
        if frames == self.num_frames:
            return ()
        used, there = frames // self.tubelet, self.num_frames // self.tubelet
        return (f"clips of {frames} frames use the first {used} of {there} temporal embeddings",)

    @property
    def num_patches(self) -> int:
        """Patch tokens of a clip of `num_frames` frames: tubelets x grid x grid."""
        return self.num_frames // self.tubelet * self.grid**2


class TubeletEmbed(nn.Module):
    """Tubelets of pixels to tokens: a convolution whose stride is its kernel, computed as one matrix product.

    The product lets dropped tubelets cost nothing, which a convolution cannot.
    """

    def __init__(self, embed_dim: int, tubelet: int, patch_size: int) -> None:
        """With torch's initialisation; see `empty` and `seeded`."""
        super().__init__()
        kernel = (tubelet, patch_size, patch_size)
        self.proj = nn.Conv3d(3, embed_dim, kernel_size=kernel, stride=kernel)

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens [B, N, D], time-major, then rows, then columns, of clips [B, 3, T, H, W]; [B, K, D] with `keep`."""
        batch, _, frames, height, width = clips.shape
        kt, kh, kw = self.proj.kernel_size
        t, h, w = frames // kt, height // kh, width // kw
        tubelets = clips.reshape(batch, 3, t, kt, h, kh, w, kw).permute(0, 2, 4, 6, 1, 3, 5, 7)  # [B,t,h,w,3,kt,kh,kw]
        if keep is None:
            pixels = tubelets.reshape(batch, t * h * w, -1)  # [B, N, 3*kt*kh*kw]
        else:
            clip = torch.arange(batch, device=clips.device)[:, None]
            pixels = tubelets[clip, keep // (h * w), keep // w % h, keep % w].flatten(2)  # [B, K, 3*kt*kh*kw]
        return F.linear(pixels, self.proj.weight.flatten(1), self.proj.bias)


class VideoTransformer(nn.Module):
    """TVTS's encoder. Build it with `seeded`, or with `empty` when weights are loaded right after."""

    def __init__(self, config: VideoTransformerConfig) -> None:
        """With torch's initialisation; see `empty` and `seeded`."""
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, dim))  # [CLS] first, then one frame's grid
        self.temporal_embed = nn.Parameter(torch.zeros(1, config.num_frames // config.tubelet, dim))
        self.patch_embed = TubeletEmbed(dim, config.tubelet, config.patch_size)
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=True,
                drop_path=config.drop_path * i / max(config.depth - 1, 1),
                norm_layer=norm_layer,  # type: ignore[arg-type]  # timm's own models pass a partial, too
            )
            for i in range(config.depth)
        )
        self.norm = norm_layer(dim)
        self._logged_frames: set[int] = set()  # clip lengths already logged as shorter than trained

    @classmethod
    def empty(cls, config: VideoTransformerConfig) -> Self:
        """The network with uninitialised weights on the CPU; draws no random number."""
        with torch.device("meta"):
            model = cls(config)
        return model.to_empty(device="cpu")

    @classmethod
    def seeded(cls, config: VideoTransformerConfig, seed: int) -> Self:
        """The network initialised from `seed` alone; the global random state is neither read nor changed.

        As timm's ViT: truncated normal with deviation 0.02 for weights and positions, zero biases, unit norms. As in
        TVTS, `temporal_embed` starts at zero.
        """
        model = cls.empty(config)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            if name == "temporal_embed" or name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
        return model

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens after the final norm, [CLS] first.

        Args:
            clips: [B, 3, T, H, W], normalised; T even and at most `config.num_frames`. Fewer frames use the first
                temporal embeddings, as the official code does.
            keep: int64 [B, K], the patch tokens to embed (index t * grid^2 + row * grid + column), in the order
                wanted; nothing is computed for the others. None keeps all.

        Returns:
            [B, 1 + N, D], or [B, 1 + K, D] with `keep`.

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        x = self._stem(clips, keep)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)  # type: ignore[no-any-return]

    def embed(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """[CLS] after the final norm, [B, D]: `forward(...)[:, 0]`, without what only patch tokens would need.

        The last block computes its queries and its MLP for [CLS] alone, which saves 7 % of the base encoder's work.
        """
        x = self._stem(clips, keep)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(block_rows(self.blocks[-1], x, slice(1))[:, 0])  # type: ignore[no-any-return]

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for tokens, positions and patches, i + 1 for block i, depth + 1 for norm."""
        return block_depth(name, self.config.depth)

    def _stem(self, clips: Tensor, keep: Tensor | None) -> Tensor:
        """What the first block takes: [CLS] and patch tokens with their positions, [B, 1 + N, D]."""
        self._check(clips)
        patches = self.patch_embed(clips, keep) + self._positions(clips.shape[2], keep)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(clips), -1, -1)
        return torch.cat([cls.to(patches.dtype), patches], dim=1)

    def _positions(self, frames: int, keep: Tensor | None) -> Tensor:
        """Positions of patch tokens, space plus time: [1, N, D], or [B, K, D] with `keep`."""
        t = frames // self.config.tubelet
        space, time = self.pos_embed[:, 1:], self.temporal_embed[:, :t]
        positions = (time[:, :, None] + space[:, None]).flatten(1, 2)  # [1, t * grid^2, D]
        return positions if keep is None else positions[0][keep]

    def _check(self, clips: Tensor) -> None:
        """Refuse clips [B, 3, T, H, W] that do not fit; say once when they are shorter than trained."""
        config = self.config
        if clips.ndim != 5 or clips.shape[1] != 3:
            raise VideoNetworkError(f"clips must be [batch, 3, frames, height, width], got {list(clips.shape)}")
        frames, *size = clips.shape[2:]
        if size != [config.image_size] * 2:
            raise VideoNetworkError(
                f"this network takes frames of {config.image_size} x {config.image_size} pixels, "
                f"got {size[0]} x {size[1]}: set the crop to {config.image_size}"
            )
        if frames == 0 or frames % config.tubelet or frames > config.num_frames:
            raise VideoNetworkError(
                f"this network takes a multiple of {config.tubelet} frames up to {config.num_frames}, got {frames}"
            )
        if frames < config.num_frames and frames not in self._logged_frames:
            self._logged_frames.add(frames)
            logger.warning(
                "clips have %d frames, the network was made for %d: it uses the first %d of %d temporal embeddings",
                frames,
                config.num_frames,
                frames // config.tubelet,
                config.num_frames // config.tubelet,
            )


def block_rows(block: nn.Module, x: Tensor, rows: slice) -> Tensor:
    """Tokens `rows` of what timm's `block` makes of `x` [B, N, D]: `block(x)[:, rows]`, values and gradients.

    Keys and values come from all tokens; queries, projection and MLP are computed for `rows` alone.

    Args:
        block: of timm's vision transformer.
        x: all tokens.
        rows: those that are read.
    """
    assert isinstance(block, Block)
    attn = block.attn
    assert isinstance(attn, Attention)
    batch, tokens, dim = x.shape
    weight, bias = attn.qkv.weight, attn.qkv.bias
    normed = block.norm1(x)
    q = F.linear(normed[:, rows], weight[:dim], bias[:dim]).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
    kv = F.linear(normed, weight[dim:], bias[dim:]).view(batch, tokens, 2, attn.num_heads, -1)
    k, v = kv.permute(2, 0, 3, 1, 4)  # [B, heads, N, D / heads] each
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, R, D]
    read = x[:, rows] + block.drop_path1(attn.proj(attended))
    return read + block.drop_path2(block.mlp(block.norm2(read)))  # type: ignore[no-any-return]
