"""What is done to a training clip's pixels: one draw a clip, the same for all its frames.

Crop, mirror, RandAugment, erasing, in this order, on bytes and on whole clips, with torchvision's v2 transforms. These
draw from torch's global generator; each clip seeds it for itself and puts it back, so that nothing else notices and a
clip is known from its own generator alone.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import resize_and_crop, resized
from tvts_bench.video.variation import MAX_MAGNITUDE, ClipAugment

from torchvision.transforms import v2  # isort: skip
from torchvision.transforms.v2 import functional as F  # isort: skip

_BINS = 100 * MAX_MAGNITUDE  # as finely as torchvision is asked for a magnitude, which need not be a whole number
_ERASED_AREA = (0.02, 1 / 3)  # share of a frame; with the aspect ratios, those of timm
_ERASED_ASPECT = (0.3, 1 / 0.3)


def augment_clip(frames: NDArray[np.uint8], augment: ClipAugment, clip: ClipSpec, rng: np.random.Generator) -> Tensor:
    """A varied clip, uint8 [3, T, crop, crop], of `frames` [T, H, W, 3], which are not changed.

    Which frames they are has been decided before (`augment.frames`). `clip` says the size, how it is resized, and the
    mean and deviation that noise and filled edges have. Each kind of variation draws from a seed of its own, so that
    turning one off leaves the others as they were. `rng` alone decides; torch's global generator is put back.
    """
    assert frames.ndim == 4, f"expected [T, H, W, 3], got {frames.shape}"
    assert frames.shape[3] == 3, f"expected [T, H, W, 3], got {frames.shape}"
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
    planes = F.resize(planes, resized(planes.shape[2], planes.shape[3], short, clip.resize), antialias=True, **resize)
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
