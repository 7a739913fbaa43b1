"""What the network is shown of a batch: which patches, and in which slots the things that it has to sort.

All randomness of a step but dropout is drawn here, on the CPU, from the generator passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.objectives.ordering import random_orders


@dataclass(frozen=True, kw_only=True, eq=False)
class Presentation:
    """The draws for B clips. Fields are None where the objective does not need them."""

    keep: Tensor | None = None  # int64 [B, N], patch tokens of the whole clip to embed; None embeds all
    piece_keep: Tensor | None = None  # int64 [B, U, n], the same for each of its U pieces, counted within the piece
    order: Tensor | None = None  # int64 [B, K]; order[b, s] is the true position of what slot s shows

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Presentation:
        """The same draws on `device`."""
        drawn = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return Presentation(**{name: tensor.to(device, non_blocking=non_blocking) for name, tensor in drawn.items()})


def present(
    *,
    batch: int,
    tubelets: int,
    grid: int,
    mask: float,
    pieces: Pieces | None,
    shuffled: int,
    generator: torch.Generator,
) -> Presentation:
    """Draw one batch's presentation; see `TVTS.present`.

    Args:
        batch: B, clips.
        tubelets: of each clip.
        grid: patches along one side of a frame.
        mask: share of each tubelet's patches to drop; 0 keeps all.
        pieces: how the clips are cut, where pieces of the video are sorted.
        shuffled: K, how many things are shown in random slots; 0 shows them as they are.
        generator: on the CPU.
    """
    piece_keep = None
    if pieces is not None:
        drawn = kept_patches(batch * pieces.count, pieces.length, grid * grid, mask, generator)
        piece_keep = None if drawn is None else drawn.reshape(batch, pieces.count, -1)
    return Presentation(
        keep=kept_patches(batch, tubelets, grid * grid, mask, generator),
        piece_keep=piece_keep,
        order=random_orders(batch, shuffled, generator) if shuffled else None,
    )


def kept_patches(batch: int, tubelets: int, spatial: int, mask: float, generator: torch.Generator) -> Tensor | None:
    """int(spatial * (1 - mask)) random patches of every tubelet, another choice in each; ascending within a tubelet.

    Args:
        batch: clips.
        tubelets: of each clip.
        spatial: patches of a tubelet.
        mask: share of them to drop.
        generator: on the CPU.

    Returns:
        int64 [batch, tubelets * kept] indices t * spatial + patch, or None for mask 0.
    """
    if mask == 0:
        return None
    kept = kept_per_tubelet(spatial, mask)
    patches = torch.rand(batch, tubelets, spatial, generator=generator).argsort(dim=-1)[..., :kept].sort(dim=-1).values
    return (patches + torch.arange(tubelets)[:, None] * spatial).flatten(1)


def kept_per_tubelet(spatial: int, mask: float) -> int:
    """Patches that stay of the `spatial` ones of a tubelet: 49 of 196 at mask 0.75."""
    return int(spatial * (1 - mask) + 1e-9)  # 10 * (1 - 0.9) is 0.99999... in binary


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """How a clip is cut into pieces of whole tubelets that are encoded apart and put in order.

    Every piece is encoded as a short clip of its own, so its temporal embeddings start at zero wherever it was: a
    piece carries nothing of its place. For the same reason all have the same length, also where the tubelets do not
    divide (3, 3 and 2 of 8 would tell the last): the rest falls into gaps between them.

        8 tubelets, 3 pieces:  [0 1] [2 3] . [5 6] .
    """

    count: int  # U
    length: int  # tubelets of each
    starts: tuple[int, ...]  # first tubelet of each, in true order

    @classmethod
    def of(cls, tubelets: int, count: int) -> Pieces:
        """`count` pieces of `tubelets` // `count` tubelets, spread evenly. Needs count <= tubelets."""
        assert count <= tubelets, (count, tubelets)
        return cls(count=count, length=tubelets // count, starts=tuple(i * tubelets // count for i in range(count)))

    def cut(self, clips: Tensor, tubelet: int) -> Tensor:
        """Pieces [B * U, 3, length * tubelet, H, W] in true order, of clips [B, 3, T, H, W]."""
        frames = self.length * tubelet
        pieces = torch.stack([clips[:, :, s * tubelet : s * tubelet + frames] for s in self.starts], dim=1)
        return pieces.flatten(0, 1)
