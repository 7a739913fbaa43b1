"""MViT (version 1) for features: torchvision's network with positions that fit clips of any length and resolution."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision

from torchvision.models.video.mvit import MSBlockConfig, MViT  # isort: skip

PATCH = 4  # pixels from one patch to the next; patches are 7 wide and overlap
TUBELET = 2  # frames from one patch to the next


@dataclass(frozen=True, kw_only=True)
class MViTSize:
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


class MViTFeatures(nn.Module):
    """[CLS] after the final norm."""

    def __init__(self, size: MViTSize) -> None:
        """Builds the network, randomly initialised; keys and values are pooled to the size of the last stage."""
        super().__init__()
        self.size = size
        self.mvit = MViT(
            spatial_size=(size.image_size, size.image_size),
            temporal_size=size.num_frames,
            block_setting=[_block(size, i) for i in range(size.depth)],
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

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for the stem, i + 1 for block i, depth + 1 for the final norm."""
        parts = name.removeprefix("mvit.").split(".")
        if parts[0] == "blocks":
            return int(parts[1]) + 1
        return self.size.depth + 1 if parts[0] == "norm" else 0

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
        tables, side = self.mvit.pos_encoding, self.size.grid
        space, time = tables.spatial_pos, tables.temporal_pos
        if (rows, columns) != (side, side):
            square = space.unflatten(0, (side, side)).permute(2, 0, 1)[None].float()
            square = F.interpolate(square, size=(rows, columns), mode="bicubic", antialias=True)
            space = square[0].flatten(1).T.to(space.dtype)
        if steps != len(time):
            line = F.interpolate(time.T[None].float(), size=steps, mode="linear")
            time = line[0].T.to(time.dtype)
        patches = (time[:, None] + space[None]).flatten(0, 1)
        return torch.cat([tables.class_pos[None], patches])[None]


def _block(size: MViTSize, index: int) -> MSBlockConfig:
    halved = index in size.pooled
    coarser = 2 ** sum(block > index for block in size.pooled)  # keys and values: as coarse as the last stage
    return MSBlockConfig(
        num_heads=size.widths[index] // size.head_width,
        input_channels=size.widths[index],
        output_channels=size.widths[index + 1],
        kernel_q=[3, 3, 3] if halved else [],
        kernel_kv=[3, 3, 3],
        stride_q=[1, 2, 2] if halved else [],
        stride_kv=[1, coarser, coarser],
    )
