"""How the video encoder starts: from images, as the official code does it, or drawn as MAE's networks are.

The paper's encoder starts from MAE's ImageNet weights, and `VideoTransformer.seeded` is made to be filled with them:
narrow weights, `temporal_embed` at zero. A small network that is trained from there first has to find out what time is,
and its narrow weights pass on next to nothing of how two frames differ; `redraw` is for those.
"""

import logging
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from tvts_bench.models.checkpoint import (
    CheckpointError,
    LoadReport,
    load_strictly,
    read_checkpoint,
)
from tvts_bench.models.vit import VideoTransformer

logger = logging.getLogger(__name__)

KERNEL = "patch_embed.proj.weight"
SOURCE = "mae_pretrain_vit_base.pth is at https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth"
DECODER = ("decoder_", "mask_token")  # first letters of what only MAE's full file has, and no encoder needs


def load_mae(model: VideoTransformer, path: Path) -> LoadReport:
    """Fill `model` with the encoder of an MAE file (`mae_pretrain_vit_base.pth` for the base size).

    The 2-D patch kernel is repeated over the frames of a tubelet and not divided by their number, so that a still
    clip's patches respond twice as strongly as the image's did; `temporal_embed` becomes zero. Both are the official
    code's choices.

    Raises:
        CheckpointError: the file cannot be read, is no such file, or of another size; `model` is unchanged.
    """
    if not path.exists():
        raise CheckpointError(f"there is no MAE checkpoint {path}; {SOURCE}")
    checkpoint = read_checkpoint(path)
    for note in checkpoint.notes:
        logger.warning("%s", note)
    unused = [name for name in checkpoint.tensors if name.startswith(DECODER)]
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith(DECODER)}
    tensors[KERNEL] = inflated(_image_kernel(tensors, path), model.config.tubelet)
    tensors["temporal_embed"] = torch.zeros_like(model.temporal_embed)
    return load_strictly(model, tensors, path, format="MAE image encoder, inflated", unused=unused)


def inflated(kernel: Tensor, tubelet: int) -> Tensor:
    """A patch kernel [D, 3, h, w] for images as one for tubelets [D, 3, tubelet, h, w]: repeated, not divided."""
    return kernel[:, :, None].repeat(1, 1, tubelet, 1, 1)


def _image_kernel(tensors: dict[str, Tensor], path: Path) -> Tensor:
    """The patch kernel, if it is one for images."""
    kernel = tensors.get(KERNEL)
    if kernel is None or kernel.ndim != 4 or "temporal_embed" in tensors:
        shape = "is not there" if kernel is None else f"has the shape {list(kernel.shape)}"
        raise CheckpointError(f"{path} is no MAE image encoder: {KERNEL} {shape}, expected [D, 3, h, w]; {SOURCE}")
    return kernel


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
    """Positions 0..count-1 on dim / 2 circles, from half a turn to a quarter of a turn / count per step: [count, dim].

    MAE's table has circles down to 10,000 steps a radian: on a grid of four, three quarters of them stand still and
    neighbouring patches look alike.
    """
    fastest, slowest = math.pi, math.pi / (2 * count)
    speeds = torch.exp(torch.linspace(math.log(fastest), math.log(slowest), dim // 2))
    angles = torch.arange(count)[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)
