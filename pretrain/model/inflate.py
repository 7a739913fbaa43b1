"""A start from images: MAE's ImageNet ViT into the video transformer, as the official code does it."""

import logging
from pathlib import Path

import torch
from torch import Tensor

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
