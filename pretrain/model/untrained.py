"""How a video encoder is drawn that starts from nothing: as MAE's networks are before their training.

The paper's encoder starts from MAE's weights, and `VideoTransformer.seeded` is made to be filled with them: narrow
weights, `temporal_embed` at zero. A small network that is trained from there first has to find out what time is, and
its narrow weights pass on next to nothing of how two frames differ.
"""

import math

import torch
from torch import Tensor, nn

from tvts_bench.models.vit import VideoTransformer


def redraw(model: VideoTransformer, seed: int) -> None:
    """Draw `model` anew from `seed`: Xavier's uniform weights (He et al. 2022), zero biases, sin-cos positions.

    Positions are learned from there, and their [CLS] entry starts at zero. `embed_dim` must be a multiple of 4.
    """
    generator = torch.Generator().manual_seed(seed)
    dim, grid, tubelets = model.config.embed_dim, model.config.grid, model.temporal_embed.shape[1]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not name.endswith(("_embed", "_token")):
                nn.init.xavier_uniform_(parameter.view(len(parameter), -1), generator=generator)
        side = sines_and_cosines(grid, dim // 2)
        rows, columns = side[:, None].expand(-1, grid, -1), side[None].expand(grid, -1, -1)
        model.pos_embed[0, 0] = 0
        model.pos_embed[0, 1:] = torch.cat([rows, columns], dim=-1).flatten(0, 1)
        model.temporal_embed[0] = sines_and_cosines(tubelets, dim)


def sines_and_cosines(count: int, dim: int) -> Tensor:
    """Positions 0..count-1 on dim / 2 circles, from half a turn to a quarter of a turn / count a step: [count, dim].

    MAE's table has circles down to 10,000 steps a radian: on a grid of four, three quarters of them stand still and
    neighbouring patches look alike.
    """
    fastest, slowest = math.pi, math.pi / (2 * count)
    speeds = torch.exp(torch.linspace(math.log(fastest), math.log(slowest), dim // 2))
    angles = torch.arange(count)[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)
