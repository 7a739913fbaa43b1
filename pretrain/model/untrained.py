"""How a video encoder is drawn that starts from nothing: as MAE's networks are before their training.

The paper's encoder starts from MAE's weights, and `VideoTransformer.seeded` is made to be filled with them: narrow
weights, `temporal_embed` at zero. A small network that is trained from there first has to find out what time is, and
its narrow weights pass on next to nothing of how two frames differ.
"""

import torch
from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.models.vit import VideoTransformer

from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed  # isort: skip

_SLOWEST = 100.0  # tubelets a radian of the slowest circle; MAE's 10,000 is for longer rows than a clip has tubelets


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
        model.pos_embed[:, :1] = 0
        model.pos_embed[0, 1:] = build_sincos2d_pos_embed([grid, grid], dim)
        angles = torch.arange(tubelets)[:, None] / _SLOWEST ** torch.linspace(0, 1, dim // 2)  # [tubelets, D / 2]
        model.temporal_embed[0] = torch.cat([angles.sin(), angles.cos()], dim=1)
