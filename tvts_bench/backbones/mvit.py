"""MViT (version 1, base) from SlowFast's files and torchvision's: [CLS] after the final norm.

SlowFast's table of positions is for one clip length and resolution; other clips get it resampled, which is ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.state_dict import renamed, substituted
from tvts_bench.models.video_network import VideoNetwork, VideoNetworkError, interpolated
from tvts_bench.video.spec import ClipSpec

from torchvision.models.video.mvit import MSBlockConfig, MViT  # isort: skip

PATCH = 4  # pixels from one patch to the next; patches are 7 wide and overlap
TUBELET = 2  # frames from one patch to the next
TABLES = {
    "cls_token": "pos_encoding.class_token",
    "pos_embed_class": "pos_encoding.class_pos",
    "pos_embed_spatial": "pos_encoding.spatial_pos",
    "pos_embed_temporal": "pos_encoding.temporal_pos",
}
RENAMED = (
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"\.attn\.pool_([qkv])\.weight$", r".attn.pool_\1.pool.weight"),
    (r"\.attn\.norm_([qkv])\.", r".attn.pool_\1.norm_act.0."),
    (r"\.attn\.proj\.", ".attn.project.0."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"^(blocks\.\d+)\.proj\.", r"\1.project."),
)
BOTTLENECKS = re.compile(r"blocks\.(\d+)\.attn\.pool_q\.")


@dataclass(frozen=True, kw_only=True)
class MViTConfig:
    """The shape of the network. The defaults are MViT-B, 16 x 4."""

    widths: tuple[int, ...] = (96, 192, 192, *(384,) * 11, 768, 768, 768)  # D before each block, and after the last
    pooled: tuple[int, ...] = (1, 3, 14)  # blocks that halve height and width
    head_width: int = 96
    grid: int = 56  # patches along one side of a frame
    steps: int = 8  # patches in time

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.widths[-1]

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{self.embed_dim}x{self.depth}"

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.widths) - 1

    @property
    def image_size(self) -> int:
        """Pixels, height and width of the clips that the table of positions is for."""
        return self.grid * PATCH

    @property
    def num_frames(self) -> int:
        """Frames of the clips that the table of positions is for."""
        return self.steps * TUBELET

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Which tables are resampled for `frames` frames of `pixels` x `pixels`."""
        if pixels % PATCH or frames % TUBELET:
            raise VideoNetworkError(
                f"it takes crops that are a multiple of {PATCH} pixels and an even number of frames, not"
                f" {frames} frames of {pixels} pixels"
            )
        side, steps, changes = pixels // PATCH, frames // TUBELET, []
        if side != self.grid:
            changes.append(
                f"position table {self.grid} x {self.grid} resampled to {side} x {side}, bicubic, antialiased"
            )
        if steps != self.steps:
            changes.append(f"table of {self.steps} times resampled to {steps}, linear")
        return tuple(changes)


class MViTFeatures(VideoNetwork):
    """[CLS] after the final norm."""

    BLOCKS, AFTER = "mvit.blocks.", ("mvit.norm.",)

    def __init__(self, config: MViTConfig) -> None:
        """Builds the network, randomly initialised; keys and values are pooled to the size of the last stage."""
        super().__init__(config.depth)
        self.config = config
        self.mvit = MViT(
            spatial_size=(config.image_size, config.image_size),
            temporal_size=config.num_frames,
            block_setting=[_block(config, i) for i in range(config.depth)],
            residual_pool=False,
            residual_with_cls_embed=False,
            rel_pos_embed=False,
            proj_after_attn=False,
        )
        self.mvit.head = nn.Sequential()

    def forward(self, clips: Tensor) -> Tensor:
        """[CLS], [B, D], of clips [B, 3, T, H, W]."""
        return self._features(clips)[:, 0]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, D] of the last stage, time-major."""
        return self._features(clips)[:, 1:]

    def _features(self, clips: Tensor) -> Tensor:
        net = self.mvit
        x = net.conv_proj(clips)  # [B, D, steps, rows, columns]
        steps, rows, columns = x.shape[2:]
        cls_token = net.pos_encoding.class_token.expand(len(x), 1, -1).to(x.dtype)
        x = torch.cat([cls_token, x.flatten(2).transpose(1, 2)], dim=1) + self._positions(steps, rows, columns)
        grid = (steps, rows, columns)
        for block in net.blocks:
            x, grid = block(x, grid)
        return net.norm(x)  # type: ignore[no-any-return]

    def _positions(self, steps: int, rows: int, columns: int) -> Tensor:
        """Space plus time, [1, 1 + steps * rows * columns, D]; resampled where the clips ask for it."""
        tables, side = self.mvit.pos_encoding, self.config.grid
        space, time = tables.spatial_pos, tables.temporal_pos
        if (rows, columns) != (side, side):
            how: dict[str, Any] = {"mode": "bicubic", "antialias": True}
            space = interpolated(space[None].float(), (side, side), (rows, columns), **how)[0].to(space.dtype)
        if steps != len(time):
            time = interpolated(time[None].float(), (len(time),), (steps,), mode="linear")[0].to(time.dtype)
        patches = (time[:, None] + space[None]).flatten(0, 1)
        return torch.cat([tables.class_pos[None], patches])[None]


def _block(config: MViTConfig, index: int) -> MSBlockConfig:
    halved = index in config.pooled
    coarser = 2 ** sum(block > index for block in config.pooled)  # keys and values: as coarse as the last stage
    return MSBlockConfig(
        num_heads=config.widths[index] // config.head_width,
        input_channels=config.widths[index],
        output_channels=config.widths[index + 1],
        kernel_q=[3, 3, 3] if halved else [],
        kernel_kv=[3, 3, 3],
        stride_q=[1, 2, 2] if halved else [],
        stride_kv=[1, coarser, coarser],
    )


SIZES = {
    "base_16x4": MViTConfig(),
    "base_32x3": MViTConfig(steps=16),
    "tiny": MViTConfig(widths=(64, 128, 128, 128), pooled=(1,), head_width=32, grid=8),
}
GREY = (0.45, 0.45, 0.45)
SPREAD = (0.225, 0.225, 0.225)
CARD = ModelCard(
    title="MViT",
    what="multiscale vision transformer (MViT-B), trained with the labels of Kinetics-400",
    weights={
        "MViT-B 16x4 (K400)": "https://drive.google.com/file/d/194gJinVejq6A1FmySNKQ8vAN5-FOY-QL",
        "MViT-B 32x3 (K400)": "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/mvit/k400.pyth",
        "mvit_v1_b-dbeb1030.pth": "https://download.pytorch.org/models/mvit_v1_b-dbeb1030.pth",
    },
    licence="Apache-2.0 (SlowFast), BSD-3-Clause (torchvision)",
    supervised="K400 classes",
    input="16 frames, every 4th, of 224 x 224 (32x3: 32 frames, every 3rd), short side 256, mean 0.45, deviation 0.225",
    representation="[CLS] after the final norm, 768",
    published=(("table4", "MViT"), ("table5", "MViT")),
    reference="Fan et al., ICCV 2021",
    tensor_names=(
        "pos_embed_spatial",
        "pos_embed_temporal",
        "blocks.0.attn.pool_k.weight",
        "blocks.0.attn.norm_k.weight",
    ),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are the tensors of an MViT with separate tables for space and time, as either library has them."""
    return signature.has("pos_embed_spatial", "pos_embed_temporal", "blocks.0.attn.pool_k.weight") or signature.has(
        "pos_encoding.spatial_pos", "pos_encoding.temporal_pos", "blocks.0.attn.pool_k.pool.weight"
    )


def infer_config(reader: ConfigReader) -> MViTConfig:
    """The shape of the network whose tensors these are.

    Raises:
        CheckpointError: a width is no multiple of a head's.
    """
    ours = reader.of(library_names(reader.tensors))
    depth = ours.depth("blocks.")
    widths = [ours.shape(f"blocks.{i}.norm1.weight", 1)[0] for i in range(depth)] + [ours.shape("norm.weight", 1)[0]]
    head_width = ours.shape("blocks.0.attn.pool_k.pool.weight", 5)[0]
    if odd := [width for width in widths if width % head_width]:
        raise CheckpointError(f"{ours.source}: a width of {odd[0]} is no multiple of the heads' {head_width}")
    return MViTConfig(
        widths=tuple(widths),
        pooled=tuple(sorted({int(match[1]) for name in ours.tensors if (match := BOTTLENECKS.match(name))})),
        head_width=head_width,
        grid=ours.grid("pos_encoding.spatial_pos", 2, prefix_tokens=0),
        steps=ours.shape("pos_encoding.temporal_pos", 2)[0],
    )


def library_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of SlowFast's names by torchvision's; those that have them already stay as they are."""
    unbatched = {name: _unbatched(tensor) if name in TABLES else tensor for name, tensor in tensors.items()}
    return renamed(unbatched, lambda name: TABLES.get(name) or substituted(name, RENAMED))


def _unbatched(table: Tensor) -> Tensor:
    """SlowFast's tables have a batch dimension of 1, [CLS] another one."""
    return _unbatched(table[0]) if table.ndim > 1 and len(table) == 1 else table


def clip_spec(config: MViTConfig) -> ClipSpec:
    """Frames with stride 4, or 3 of 32; short side 256, crop 224, one mean and deviation for all colours."""
    short_side = 256 if config.image_size == 224 else config.image_size
    stride = 3 if config.num_frames == 32 else 4
    return square_clip(config, sampling="dense", stride=stride, short_side=short_side, mean=GREY, std=SPREAD)


FAMILY = Family(
    name="mvit",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=MViTFeatures,
    convert=library_names,
    inside="mvit.",
    clip_spec=clip_spec,
)
