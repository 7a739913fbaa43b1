"""From decoded frames to a network's input: resize and crop as bytes, normalise where the network runs.

For training, one draw per clip, the same for all its frames: crop, mirror, RandAugment, erasing, in this order, with
torchvision's v2 transforms. These draw from torch's global generator; each clip seeds it for itself and puts it back,
so that nothing else notices and a clip is known from its own generator alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.video.spec import MAX_MAGNITUDE, ClipAugment, ClipSpec, Resize

from torchvision.transforms import v2  # isort: skip
from torchvision.transforms.v2 import functional as F  # isort: skip

_BINS = 100 * MAX_MAGNITUDE  # how finely torchvision divides magnitudes, which need not be whole numbers
_ERASED_AREA = (0.02, 1 / 3)  # share of a frame; with the aspect ratios, those of timm
_ERASED_ASPECT = (0.3, 1 / 0.3)


def resize_and_crop(frames: NDArray[np.uint8], spec: ClipSpec) -> Tensor:
    """Frames [T, H, W, 3] resized (by the shorter side, or squashed) and cropped: uint8 [views, 3, T, crop, crop].

    One view is the centre; three lie evenly along the longer side:

        |0 . . . . . .|        wide: left, centre, right      tall: top, centre, bottom
           |. .1. . .|
              |. . . . . 2|
    """
    height, width = frames.shape[1:3]
    size = _resized(height, width, spec.short_side, spec.resize)
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)  # [T, 3, H, W], channels last in memory: torch's fast path
    if size != [height, width]:
        planes = F.resize(planes, size, interpolation=v2.InterpolationMode(spec.interpolation), antialias=True)
    views = torch.empty((spec.spatial_views, 3, len(frames), spec.crop, spec.crop), dtype=torch.uint8)
    for view, (top, left) in zip(views, _corners(size, spec), strict=True):
        view.copy_(planes[:, :, top : top + spec.crop, left : left + spec.crop].transpose(0, 1))
    return views


def _resized(height: int, width: int, short_side: int, resize: Resize) -> list[int]:
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
    """(value / 255 - mean) / std of each channel, on the clips' own device, computed in float32.

    Args:
        clips: uint8 [..., 3, T, H, W].
        mean: Of red, green and blue in 0..1.
        std: Of red, green and blue in 0..1.
        dtype: Of the result.
    """
    assert clips.dtype == torch.uint8, f"expected uint8, got {clips.dtype}"
    assert clips.shape[-4] == 3, f"expected [..., 3, T, H, W], got {tuple(clips.shape)}"
    shape = (3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device).view(shape)
    return torch.addcmul(shift, clips.float(), scale).to(dtype)


def augment_clip(frames: NDArray[np.uint8], augment: ClipAugment, clip: ClipSpec, rng: np.random.Generator) -> Tensor:
    """Vary a clip for training.

    Each kind of variation draws from a seed of its own, so that turning one off leaves the others as they were.

    Args:
        frames: uint8 [T, H, W, 3]; not changed. Which ones has been decided before (`augment.frames`).
        augment: How they are varied.
        clip: The size, how it is resized, and the mean and deviation that noise and filled edges have.
        rng: Alone decides every draw.

    Returns:
        uint8 [3, T, crop, crop].
    """
    assert frames.shape[3:] == (3,), f"expected [T, H, W, 3], got {frames.shape}"
    seeds = rng.integers(2**63, size=4)
    with torch.random.fork_rng(devices=[]):
        _seed(seeds[0])
        planes = _crop(frames, augment, clip)  # [T, 3, crop, crop]
        _seed(seeds[1])
        if _happens(augment.flip):
            planes = planes.flip(-1)
        _seed(seeds[2])
        planes = _rand_augment(planes, augment, clip)
        _seed(seeds[3])
        if _happens(augment.erase):
            planes = _erased(planes, clip)
    return planes.transpose(0, 1).contiguous()


def _seed(seed: np.int64) -> None:
    """The CPU's generator only: `torch.manual_seed` would start that of every GPU again, too."""
    torch.default_generator.manual_seed(int(seed))


def _happens(probability: float) -> bool:
    return float(torch.rand(())) < probability


def _crop(frames: NDArray[np.uint8], augment: ClipAugment, clip: ClipSpec) -> Tensor:
    """uint8 [T, 3, crop, crop]."""
    if augment.crop == "center":
        return resize_and_crop(frames, replace(clip, spatial_views=1))[0].transpose(0, 1)
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)  # [T, 3, H, W]
    size, resize = [clip.crop, clip.crop], {"interpolation": v2.InterpolationMode(clip.interpolation)}
    if augment.crop == "area":
        box = v2.RandomResizedCrop.get_params(planes, scale=list(augment.area), ratio=list(augment.aspect))
        cropped: Tensor = F.resized_crop(planes, *box, size, antialias=True, **resize)
        return cropped
    short = round(clip.crop * float(torch.empty(()).uniform_(*augment.jitter)))
    planes = F.resize(planes, _resized(planes.shape[2], planes.shape[3], short, clip.resize), antialias=True, **resize)
    cropped = F.crop(planes, *v2.RandomCrop.get_params(planes, (clip.crop, clip.crop)))
    return cropped


def _rand_augment(planes: Tensor, augment: ClipAugment, clip: ClipSpec) -> Tensor:
    """`planes` [T, 3, H, W] after the operations that are done; each is the same for all frames."""
    fill = [round(255 * mean) for mean in clip.mean]  # of what is moved in from outside: grey, 0 for the network
    for _ in range(augment.operations):
        if _happens(augment.operation_prob):
            magnitude = float(torch.normal(augment.magnitude, augment.magnitude_std, ()))
            bin_ = round(min(max(magnitude, 0.0), MAX_MAGNITUDE) * _BINS / MAX_MAGNITUDE)
            planes = v2.RandAugment(
                num_ops=1, magnitude=bin_, num_magnitude_bins=_BINS + 1, interpolation="bilinear", fill=fill
            )(planes)
    return planes


def _erased(planes: Tensor, clip: ClipSpec) -> Tensor:
    """A copy of `planes` [T, 3, H, W] with a rectangle of noise, normal as the network sees it but clipped to bytes."""
    erased = planes.clone()
    top, left, height, width, value = v2.RandomErasing.get_params(planes, _ERASED_AREA, _ERASED_ASPECT, [0.0])
    if value is planes:  # torchvision's way to say that no rectangle fits
        return erased
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (clip.std, clip.mean))
    noise = torch.randn(len(planes), 3, height, width) * std + mean
    erased[:, :, top : top + height, left : left + width] = (255 * noise).round().clamp(0, 255).to(torch.uint8)
    return erased
