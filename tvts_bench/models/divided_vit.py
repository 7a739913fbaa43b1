"""The divided space-time transformer of Frozen in Time, MCQ, MILES and TVTSv2, with fused attention.

A block (Bain et al., ICCV 2021, section 3.1): y = x + time(x), then x + space(y), so that time acts through space only.
In both attentions [CLS] sees every token, and a patch sees [CLS] and its own group: the patches of its frame, or those
at its place in all frames. This is not TimeSformer's block. Names are Frozen's; TVTSv2's CLIP names are mapped to them.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from timm.layers import Mlp, PatchEmbed, QuickGELU, resample_abs_pos_embed  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench.models.video_network import NetworkConfig, VideoNetwork, check_clips, check_pixels, interpolated

Along = Literal["space", "time"]


@dataclass(frozen=True, kw_only=True)
class DividedTransformerConfig(NetworkConfig):
    """The shape of the network. The defaults are Frozen's."""

    num_frames: int = field(default=4, compare=False)  # entries of the temporal table, if any
    time_attention: bool = True  # False (MCQ): no temporal parameters, frames meet in [CLS] only
    longer: Literal["zeros", "linear"] = "zeros"  # for frames beyond the temporal table: nothing, or stretch it
    clip: bool = False  # CLIP's stem and epsilon: a norm before the first block, no bias on patches, 1e-5 for 1e-6
    quick_gelu: bool = False  # x * sigmoid(1.702 x) for the exact GELU
    output_dim: int | None = None  # width after a final projection without bias (CLIP's); None: no projection

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.output_dim or self.width

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Which tables are resampled, cut or filled for `frames` frames of `pixels` x `pixels`."""
        check_pixels(pixels, pixels, self.patch_size)
        old, new, there, changes = self.grid, pixels // self.patch_size, self.num_frames, []
        if new != old:
            changes.append(f"position table {old} x {old} resampled to {new} x {new}, bicubic")
        if self.time_attention and frames < there:
            changes.append(f"first {frames} of {there} temporal positions used")
        if self.time_attention and frames > there:
            stretched = f"{there} temporal positions resampled to {frames}, linear"
            zeros = f"temporal positions after the {there} that there are: zero"
            changes.append(zeros if self.longer == "zeros" else stretched)
        return tuple(changes)


class DividedAttention(nn.Module):
    """[CLS] to all tokens, patches to their group and [CLS]."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Randomly initialised."""
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, frames: int, along: Along) -> Tensor:
        """Tokens after attention, [B, 1 + T * N, D].

        Args:
            x: tokens of that shape, [CLS] first, then patches, time-major.
            frames: T.
            along: the way that a patch's group lies.
        """
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, 1 + TN, d] each
        cls = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        queries, keys, values = (_grouped(part[:, :, 1:], frames, along) for part in (q, k, v))
        keys, values = _with_cls(keys, k), _with_cls(values, v)
        # Groups stand beside heads, not in the batch: fused kernels on GPUs take no more than 65,535 clips at once.
        patches = F.scaled_dot_product_attention(queries.flatten(1, 2), keys.flatten(1, 2), values.flatten(1, 2))
        patches = patches.view_as(queries)  # [B, heads, groups, members, d]
        if along == "time":
            patches = patches.transpose(2, 3)
        joined = torch.cat([cls, patches.flatten(2, 3)], dim=2)  # [B, heads, 1 + TN, d]
        return self.proj(joined.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def cls_only(self, x: Tensor) -> Tensor:
        """The first token, [B, 1, D], of what `forward` returns along any way: it sees every token."""
        dim = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(x[:, :1], weight[:dim], bias[:dim]).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        kv = F.linear(x, weight[dim:], bias[dim:]).unflatten(2, (2, self.num_heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class DividedBlock(nn.Module):
    """Time, space, MLP; without attention along time an ordinary block whose patches see their frame only."""

    def __init__(self, config: DividedTransformerConfig) -> None:
        """Randomly initialised."""
        super().__init__()
        dim = config.width
        norm = partial(nn.LayerNorm, dim, eps=_epsilon(config))
        self.norm1 = norm()
        self.attn = DividedAttention(dim, config.num_heads)
        self.norm2 = norm()
        self.mlp = Mlp(dim, config.mlp_dim, act_layer=QuickGELU if config.quick_gelu else nn.GELU)
        self.has_time = config.time_attention
        if self.has_time:
            self.norm3 = norm()
            self.timeattn = DividedAttention(dim, config.num_heads)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """[B, 1 + T * N, D] of tokens of that shape."""
        x = x + self.attn(self.norm1(self._moved(x, frames)), frames, "space")
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def cls_only(self, x: Tensor, frames: int) -> Tensor:
        """The first token, [B, 1, D], of what `forward` returns; spares what only patches would need."""
        first = x[:, :1] + self.attn.cls_only(self.norm1(self._moved(x, frames)))
        return first + self.mlp(self.norm2(first))  # type: ignore[no-any-return]

    def _moved(self, x: Tensor, frames: int) -> Tensor:
        return x + self.timeattn(self.norm3(x), frames, "time") if self.has_time else x


class DividedTransformer(VideoNetwork):
    """Clips [B, 3, T, H, W] to [CLS] or tokens; `config.adaptations` says how other sizes than the tables' are met."""

    AFTER = ("norm.", "proj")

    def __init__(self, config: DividedTransformerConfig) -> None:
        """Randomly initialised."""
        super().__init__(config.depth)
        self.config = config
        dim = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, dim))  # [CLS] first, then one frame's grid
        if config.time_attention:
            self.temporal_embed = nn.Parameter(torch.zeros(1, config.num_frames, dim))
        self.patch_embed = PatchEmbed(None, config.patch_size, embed_dim=dim, bias=not config.clip)
        if config.clip:
            self.norm_pre = nn.LayerNorm(dim, eps=_epsilon(config))
        self.blocks = nn.ModuleList(DividedBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=_epsilon(config))
        if config.output_dim is not None:
            self.proj = nn.Parameter(torch.zeros(dim, config.output_dim))
        self.reset_parameters()

    def forward(self, clips: Tensor) -> Tensor:
        """[CLS] after the final norm and projection, [B, output]; of the last block, only what [CLS] needs.

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        x, frames = self._stem(clips)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, frames)
        assert isinstance(last, DividedBlock)
        return self._projected(last.cls_only(x, frames))[:, 0]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens after the final norm and projection, [B, T * N, output], time-major."""
        x, frames = self._stem(clips)
        for block in self.blocks:
            x = block(x, frames)
        return self._projected(x[:, 1:])

    def _stem(self, clips: Tensor) -> tuple[Tensor, int]:
        """What the first block takes, [B, 1 + T * N, D], and T."""
        check_clips(clips, self.config.patch_size)
        batch, _, frames, height, width = clips.shape
        patch = self.config.patch_size
        space = resample_abs_pos_embed(self.pos_embed, [height // patch, width // patch], num_prefix_tokens=1)
        patches = self.patch_embed(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, frames))  # [B, T, N, D]
        positions = space[:, None, 1:]
        if self.config.time_attention:
            positions = positions + self._times(frames)[:, :, None]
        cls = (self.cls_token + space[:, :1]).expand(batch, -1, -1)
        patches = (patches + positions).flatten(1, 2)
        x = torch.cat([cls.to(patches.dtype), patches], dim=1)
        return (self.norm_pre(x) if self.config.clip else x), frames

    def _times(self, frames: int) -> Tensor:
        """Temporal positions of T = `frames` frames, [1, T, D]."""
        table = self.temporal_embed
        if frames <= table.shape[1]:
            return table[:, :frames]
        if self.config.longer == "zeros":
            return F.pad(table, (0, 0, 0, frames - table.shape[1]))
        return interpolated(table, (table.shape[1],), (frames,), mode="linear")

    def _projected(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x if self.config.output_dim is None else x @ self.proj


def _epsilon(config: DividedTransformerConfig) -> float:
    return 1e-5 if config.clip else 1e-6


def _grouped(patches: Tensor, frames: int, along: Along) -> Tensor:
    """[B, heads, T * N, d] by frame, [B, heads, T, N, d], or by place, [B, heads, N, T, d]."""
    by_frame: Tensor = patches.unflatten(2, (frames, -1))
    return by_frame if along == "space" else by_frame.transpose(2, 3)


def _with_cls(groups: Tensor, tokens: Tensor) -> Tensor:
    """[B, heads, G, 1 + L, d]: `groups` [B, heads, G, L, d], each behind the first of `tokens` [B, heads, N, d]."""
    cls = tokens[:, :, None, :1].expand(-1, -1, groups.shape[2], -1, -1)
    return torch.cat([cls, groups], dim=3)
