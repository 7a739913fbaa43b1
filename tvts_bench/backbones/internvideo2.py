"""InternVideo2: the video encoder of the official files (stage 1 and 2, distilled, fine-tuned), attention-pooled.

A pre-norm transformer with RMS norms and an attention pool over all its tokens (Wang et al., ECCV 2024); sizes, names
and order of operations as in the official files. Queries and keys are normalised over their full width, before heads
are split. There is no norm after the last block: the pool has its own.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.video_network import (
    NetworkConfig,
    VideoNetwork,
    VideoNetworkError,
    check_clips,
    check_pixels,
    interpolated,
)

from timm.layers import LayerScale, Mlp, RmsNorm  # type: ignore[attr-defined]  # isort: skip

EPSILON = 1e-6  # of RMS norms; the pool's layer norms have 1e-5
POOL_HEADS = 16  # at every size


@dataclass(frozen=True, kw_only=True)
class InternVideo2Config(NetworkConfig):
    """The shape of the network. The defaults are the base size of the distilled models."""

    patch_size: int = 14
    num_frames: int = field(default=8, compare=False)  # frames that the position table was made for
    output_dim: int = 768  # of the pooled embedding

    def __post_init__(self) -> None:
        """Refuse what no network can have."""
        super().__post_init__()
        if self.width % POOL_HEADS:
            raise VideoNetworkError(f"width must be a multiple of {POOL_HEADS}, got {self.width}")

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.output_dim

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """How the position table is resampled for `frames` frames of `pixels` x `pixels`."""
        check_pixels(pixels, pixels, self.patch_size)
        old, new = (self.num_frames, self.grid), (frames, pixels // self.patch_size)
        if new == old:
            return ()
        was, is_now = (f"{t} x {side} x {side}" for t, side in (old, new))
        return (f"position table {was} resampled to {is_now}, linear in time, bicubic in space",)


class _Attention(nn.Module):
    """Of all tokens to all tokens, with RMS norms on queries and keys."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_norm = RmsNorm(dim, eps=EPSILON)
        self.k_norm = RmsNorm(dim, eps=EPSILON)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] of [B, N, D]."""
        q, k, v = self.qkv(x).chunk(3, dim=2)
        return self.proj(_attended(self.q_norm(q), self.k_norm(k), v, self.num_heads))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention and MLP, each behind an RMS norm and scaled by channel."""

    def __init__(self, config: InternVideo2Config) -> None:
        super().__init__()
        dim = config.width
        self.norm1 = RmsNorm(dim, eps=EPSILON)
        self.attn = _Attention(dim, config.num_heads)
        self.ls1 = LayerScale(dim, init_values=1e-5)
        self.norm2 = RmsNorm(dim, eps=EPSILON)
        self.mlp = Mlp(dim, config.mlp_dim)
        self.ls2 = LayerScale(dim, init_values=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] of [B, N, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class _CrossAttention(nn.Module):
    """Its biases have names of their own in the official files: `q_bias`, not `q.bias`."""

    def __init__(self, dim: int, output_dim: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(dim)) for _ in range(3))
        self.proj = nn.Linear(dim, output_dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the queries read, [B, M, output].

        Args:
            query: [B, M, D].
            key: [B, N, D].
            value: [B, N, D].
        """
        q = F.linear(query, self.q.weight, self.q_bias)
        k = F.linear(key, self.k.weight, self.k_bias)
        v = F.linear(value, self.v.weight, self.v_bias)
        return self.proj(_attended(q, k, v, POOL_HEADS))  # type: ignore[no-any-return]


class _AttentionPool(nn.Module):
    """The mean token asks all tokens."""

    def __init__(self, dim: int, output_dim: int) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(dim, eps=1e-5) for _ in range(3))
        self.cross_attn = _CrossAttention(dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, output] of tokens [B, N, D]."""
        mean = x.mean(dim=1, keepdim=True)
        return self.cross_attn(self.norm1_q(mean), self.norm1_k(x), self.norm1_v(x)).squeeze(1)  # type: ignore[no-any-return]


class _FramePatches(nn.Module):
    """Each frame's patches; a convolution over one frame at a time, as the official files keep it."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, dim, kernel_size=(1, patch, patch), stride=(1, patch, patch))

    def forward(self, clips: Tensor) -> Tensor:
        """[B, T * N, D], time-major, of clips [B, 3, T, H, W]."""
        return self.proj(clips).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class InternVideo2(VideoNetwork):
    """Clips [B, 3, T, H, W] to embeddings; `config.adaptations` says how other sizes than the table's are met."""

    AFTER = ("clip_projector.",)

    def __init__(self, config: InternVideo2Config) -> None:
        """Randomly initialised."""
        super().__init__(config.depth)
        self.config = config
        dim = config.width
        self.patch_embed = _FramePatches(dim, config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.num_frames * config.grid**2, dim))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.clip_projector = _AttentionPool(dim, config.output_dim)
        self.reset_parameters()

    def forward(self, clips: Tensor) -> Tensor:
        """The attention-pooled embedding, [B, output].

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        return self.clip_projector(self._encoded(clips))  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens after the last block, [B, T * N, D], time-major; no norm follows.

        Raises:
            VideoNetworkError: they are not as wide as the embedding, so that nothing takes both.
        """
        if self.config.width != self.config.embed_dim:
            raise VideoNetworkError(
                f"this InternVideo2 has patch tokens of width {self.config.width} beside an embedding of"
                f" {self.config.embed_dim}: an attentive probe needs the same width"
            )
        return self._encoded(clips)[:, 1:]

    def _encoded(self, clips: Tensor) -> Tensor:
        """All tokens after the last block, [B, 1 + T * N, D]."""
        check_clips(clips, self.config.patch_size)
        patches = self.patch_embed(clips)
        cls, table = self.pos_embed[:, :1] + self.cls_token, self._positions(clips.shape)
        x = torch.cat([cls.expand(len(clips), -1, -1).to(patches.dtype), patches + table], dim=1)
        for block in self.blocks:
            x = block(x)
        return x

    def _positions(self, shape: torch.Size) -> Tensor:
        """Positions of patches for clips [B, 3, T, H, W] of `shape`, [1, T * N, D]."""
        config, table = self.config, self.pos_embed[:, 1:]
        wanted = (shape[2], shape[3] // config.patch_size, shape[4] // config.patch_size)
        if wanted == (config.num_frames, config.grid, config.grid):
            return table
        times = table.unflatten(1, (config.num_frames, -1)).flatten(2)  # [1, T, N * D]
        times = interpolated(times, (config.num_frames,), wanted[:1], mode="linear")
        spaces = times[0].unflatten(1, (config.grid**2, -1))  # [T, N, D]
        return interpolated(spaces, (config.grid, config.grid), wanted[1:], mode="bicubic").flatten(0, 1)[None]


def _attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Values [B, N, D] as the queries [B, M, D] see them by the keys [B, N, D], in `heads` parts: [B, M, D]."""
    split = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


BASE = InternVideo2Config()
SIZES = {
    "base": BASE,
    "small": replace(BASE, width=384, num_heads=6, mlp_dim=1536),
    "large": replace(BASE, width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "1b": replace(BASE, width=1408, depth=40, num_heads=16, mlp_dim=6144),
    "6b": replace(BASE, width=3200, depth=48, num_heads=25, mlp_dim=12800),
    "tiny": replace(BASE, width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8, output_dim=128),
}
ENCODER = "vision_encoder."  # prefix of its names in files of stage 2
HUB = "https://huggingface.co/OpenGVLab/"
CARD = ModelCard(
    title="InternVideo2",
    what="ViT with joint space-time attention, trained to predict the features of an image and a video teacher, then"
    " (stage 2) to match videos with texts; S, B and L are distilled from 1B",
    weights={
        "1B stage 1, 8 frames: pretrain.pth": f"{HUB}InternVideo2-Stage1-1B-224p-f8",
        "1B stage 2, 4 frames": f"{HUB}InternVideo2-Stage2_1B-224p-f4",
        "S, B, L distilled: stage1/*_dist_1B_stage2/pytorch_model.bin": f"{HUB}InternVideo2_distillation_models",
    },
    licence="Apache-2.0 (the hub's card of stage 2, 6B: MIT)",
    supervised="K710 and other classes in fine-tuned files; none in others, but the teachers saw image-text pairs",
    input="8 frames of 224 x 224 (4 from stage 2), centres of equal segments, ImageNet mean and deviation",
    representation="attention-pooled embedding (clip_projector), 768, before the projection into the space of texts",
    published=(),
    reference="Wang et al., ECCV 2024",
    tensor_names=(
        "blocks.0.attn.q_norm.weight",
        "blocks.0.ls1.gamma",
        "clip_projector.norm1_q.weight",
        "clip_projector.cross_attn.q_bias",
    ),
)
TRAINING_ONLY = r"clip_decoder\.|mae_decoder\.|final_clip_decoder\.|clip_pos_embed|clip_img_pos_embed|temp$"
IMAGES_AND_HEADS = r"mae_pos_embed|img_pos_embed|fc_norm\.|head\."


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are InternVideo2's tensors: norms on queries and keys, and an attention pool."""
    return signature.encoder(ENCODER).has("blocks.0.attn.q_norm.weight", "clip_projector.norm1_q.weight")


def infer_config(reader: ConfigReader) -> InternVideo2Config:
    """The shape of an encoder; a table of positions tells frames only where its side is known.

    Raises:
        CheckpointError: it tells none.
    """
    fields = reader.vit(SIZES, norm="blocks.0.norm1.weight", positions=None)
    width, patch = fields["width"], fields["patch_size"]
    known = next((size for size in SIZES.values() if (size.width, size.patch_size) == (width, patch)), None)
    positions = reader.shape("pos_embed", 3)[1] - 1  # [CLS] has one, too
    grid = known.grid if known else 224 // patch
    if grid == 0 or positions < grid**2 or positions % grid**2:
        raise CheckpointError(
            f"{reader.source}: pos_embed has {positions} places for patches, not a multiple of {grid} x {grid}:"
            " tables of other resolutions cannot be told apart from those of more frames"
        )
    output_dim = reader.shape("clip_projector.cross_attn.proj.bias", 1)[0]
    return InternVideo2Config(**fields, image_size=grid * patch, num_frames=positions // grid**2, output_dim=output_dim)


FAMILY = Family(
    name="internvideo2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=InternVideo2,
    prefix=ENCODER,
    beside=("text_encoder.", "vision_proj.", "text_proj.", "itm_head.", "clip_teacher."),
    ignore=f"{TRAINING_ONLY}|{IMAGES_AND_HEADS}",
)
