"""The sorting transformer: puts items in order by looking at a context.

In TVTS the items are transcript segments and the context is the video. Items get no position, so what is predicted
of them does not depend on where they stand. Parameter names are those of the official files (`pred_model.*`):
`type_embed`, `blocks.0`, `blocks.1`, `norm`, `head`.
"""

import math
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pretrain.objectives.config import SortModelling
from tvts_bench.models.vit import block_rows

DEPTH = 2  # blocks, in the paper
VIDEO, TEXT = 0, 1  # rows of type_embed


class PairHead(nn.Module):
    """Whether item i is before item j, for all pairs: s(i, j) - s(j, i), so that swapping two items flips the sign.

    Built so, the head cannot learn that the item shown first is first, and items need no shuffling.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2 * dim, dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(dim, 1, bias=False)  # a bias would cancel

    def forward(self, items: Tensor) -> Tensor:
        """Logits [B, K, K] of items [B, K, D]; entry (i, j) is positive where i is before j."""
        size = items.shape[1]
        first = items[:, :, None].expand(-1, -1, size, -1)
        second = items[:, None].expand(-1, size, -1, -1)
        scores = self.fc2(self.act(self.fc1(torch.cat([first, second], dim=-1)))).squeeze(-1)
        return scores - scores.mT  # type: ignore[no-any-return]


class OrderHead(nn.Module):
    """One class for each of the K! orders, read from the K slots side by side."""

    def __init__(self, dim: int, items: int) -> None:
        super().__init__()
        self.fc = nn.Linear(items * dim, math.factorial(items))

    def forward(self, items: Tensor) -> Tensor:
        """Logits [B, K!] of items [B, K, D] in the slots where they are shown."""
        return self.fc(items.flatten(1))  # type: ignore[no-any-return]


class SortTransformer(nn.Module):
    """Self-attention over video tokens and text tokens, and a head on those that are to be sorted."""

    def __init__(
        self,
        embed_dim: int = 768,
        num_heads: int = 12,
        items: int = 4,
        modelling: SortModelling = "k_way",
        *,
        sorts_video: bool = False,
        context: int = 4,
    ) -> None:
        """The defaults are the paper's.

        Args:
            embed_dim: D.
            num_heads: of both blocks.
            items: K, how many things are put in order.
            modelling: which head; not "none".
            sorts_video: whether items are pieces of the video and the context is the transcript, in its order.
            context: segments of the transcript; used where `sorts_video`.
        """
        super().__init__()
        self.sorts_video = sorts_video
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.type_embed = nn.Parameter(torch.zeros(1, 2, embed_dim))
        if sorts_video:  # a transcript that is not to be sorted says its order
            self.order_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, context, embed_dim), std=0.02))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, qkv_bias=True, norm_layer=norm_layer)  # type: ignore[arg-type]  # as timm does
            for _ in range(DEPTH)
        )
        self.norm = norm_layer(embed_dim)
        self.head: nn.Module
        if modelling == "k_way":
            self.head = nn.Linear(embed_dim, items)
        else:
            assert modelling in ("pairwise", "factorial"), modelling
            self.head = PairHead(embed_dim) if modelling == "pairwise" else OrderHead(embed_dim, items)

    def forward(self, video: Tensor, text: Tensor) -> Tensor:
        """Logits of the items, shaped as `pretrain.objectives.ordering.sorting` takes them.

        Args:
            video: [B, V, D], tokens of the video; [B, K, D], one token per piece, where the video is sorted.
            text: [B, K, D], one token per transcript segment; in true order where the video is sorted.
        """
        if self.sorts_video:
            text = text + self.order_embed
        x = torch.cat([video + self.type_embed[:, VIDEO, None], text + self.type_embed[:, TEXT, None]], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        seen = video.shape[1]
        items = block_rows(self.blocks[-1], x, slice(seen) if self.sorts_video else slice(seen, None))
        return self.head(self.norm(items))  # type: ignore[no-any-return]


class OrderClassifier(nn.Module):
    """VCOP's head: the order of K pieces of a video from their features alone, side by side."""

    def __init__(self, dim: int, items: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(items * dim, dim)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(dim, math.factorial(items))

    def forward(self, items: Tensor) -> Tensor:
        """Logits [B, K!] of items [B, K, D] in the slots where they are shown."""
        return self.fc2(self.act(self.fc1(items.flatten(1))))  # type: ignore[no-any-return]
