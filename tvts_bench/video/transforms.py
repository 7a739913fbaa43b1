"""From decoded frames to a network's input: resize and crop as bytes, normalise where the network runs."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.video.spec import ClipSpec, Resize

from torchvision.transforms.v2 import InterpolationMode  # isort: skip
from torchvision.transforms.v2 import functional as F  # isort: skip


def resize_and_crop(frames: NDArray[np.uint8], spec: ClipSpec) -> Tensor:
    """Frames [T, H, W, 3] resized (by the shorter side, or squashed) and cropped: uint8 [views, 3, T, crop, crop].

    One view is the centre; three lie evenly along the longer side:

        |0 . . . . . .|        wide: left, centre, right      tall: top, centre, bottom
           |. .1. . .|
              |. . . . . 2|
    """
    height, width = frames.shape[1:3]
    size = resized(height, width, spec.short_side, spec.resize)
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)  # [T, 3, H, W], channels last in memory: torch's fast path
    if size != [height, width]:
        planes = F.resize(planes, size, interpolation=InterpolationMode(spec.interpolation), antialias=True)
    views = torch.empty((spec.spatial_views, 3, len(frames), spec.crop, spec.crop), dtype=torch.uint8)
    for view, (top, left) in zip(views, _corners(size, spec), strict=True):
        view.copy_(planes[:, :, top : top + spec.crop, left : left + spec.crop].transpose(0, 1))
    return views


def resized(height: int, width: int, short_side: int, resize: Resize) -> list[int]:
    """[height, width] in pixels after `resize`."""
    if resize == "squash":
        return [short_side, short_side]
    short = min(height, width)
    return [short_side * height // short, short_side * width // short]


def _corners(size: list[int], spec: ClipSpec) -> list[tuple[int, int]]:
    """(top, left) of every spatial view in a picture of `size` (height, width)."""
    free_y, free_x = size[0] - spec.crop, size[1] - spec.crop
    middle_y, middle_x = round(free_y / 2), round(free_x / 2)
    if spec.spatial_views == 1:
        return [(middle_y, middle_x)]
    if free_x >= free_y:
        return [(middle_y, left) for left in (0, middle_x, free_x)]
    return [(top, middle_x) for top in (0, middle_y, free_y)]


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 clips [..., 3, T, H, W] as (value / 255 - mean) / std of each channel, on the clips' own device.

    Computed in float32 whatever `dtype` the result has.
    """
    assert clips.dtype == torch.uint8, f"expected uint8, got {clips.dtype}"
    assert clips.shape[-4] == 3, f"expected [..., 3, T, H, W], got {tuple(clips.shape)}"
    shape = (3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device).view(shape)
    return torch.addcmul(shift, clips.float(), scale).to(dtype)
