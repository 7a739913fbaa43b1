"""What is done to a training clip's pixels: one draw a clip, the same for all its frames.

Crop, mirror, RandAugment, erasing, in this order, on bytes and on whole clips, with torchvision's v2 transforms. These
draw from torch's global generator; each clip seeds it for itself and puts it back, so that nothing else notices and a
clip is known from its own generator alone.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.errors import UserError
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import resize_and_crop, resized

from torchvision.transforms import v2  # isort: skip
from torchvision.transforms.v2 import functional as F  # isort: skip

Crop = Literal["area", "jitter", "center"]

_LEVELS = 10  # RandAugment's magnitudes go from 0 to this
_BINS = 100 * _LEVELS  # as finely as torchvision is asked for a magnitude, which need not be a whole number
_ERASED_AREA = (0.02, 1 / 3)  # share of a frame; with the aspect ratios, those of timm
_ERASED_ASPECT = (0.3, 1 / 0.3)


class AugmentError(UserError):
    """A value of an augmentation's configuration that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class ClipAugment:
    """How a training clip is varied. The defaults are TVTS's fine-tuning and online probe on SSV2.

    RandAugment follows `rand-m7-n4-mstd0.5-inc1`: torchvision's operations at the same strength for all but Posterize
    (weaker, as in the paper of RandAugment), with Identity in place of Invert and SolarizeAdd.
    """

    frames: Literal["random", "center"] = "random"  # of each segment (or the window's place): drawn anew every epoch
    crop: Crop = "area"  # a random part of the frame; `jitter`: resized, then cut; `center`: as in testing
    area: tuple[float, float] = (0.08, 1.0)  # share of the frame's area, for `area`
    aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of that part
    jitter: tuple[float, float] = (256 / 224, 320 / 224)  # shorter side / size of the crop, for `jitter`
    flip: float = 0.0  # probability of mirroring; it turns left into right, so never where direction is the class
    operations: int = 4  # of RandAugment; 0: none
    magnitude: float = 7.0  # of each operation, 0 to 10
    magnitude_std: float = 0.5  # its standard deviation
    operation_prob: float = 0.5  # with which each of the operations is done
    erase: float = 0.25  # probability that a rectangle, the same in every frame, is filled with noise

    def __post_init__(self) -> None:
        if self.frames not in ("random", "center"):
            raise AugmentError(f"frames must be one of random, center, got {self.frames!r}")
        if self.crop not in get_args(Crop):
            raise AugmentError(f"crop must be one of {', '.join(get_args(Crop))}, got {self.crop!r}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise AugmentError(f"area must be two increasing shares in (0, 1], got {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise AugmentError(f"aspect must be two increasing positive ratios, got {self.aspect}")
        if not 1 <= self.jitter[0] <= self.jitter[1]:
            raise AugmentError(f"jitter must be two increasing factors of at least 1, got {self.jitter}")
        for name in ("flip", "operation_prob", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise AugmentError(f"{name} is a probability, from 0 to 1, got {getattr(self, name)}")
        if self.operations < 0:
            raise AugmentError(f"operations must not be negative, got {self.operations}")
        if not 0 <= self.magnitude <= _LEVELS:
            raise AugmentError(f"magnitude must be from 0 to {_LEVELS}, got {self.magnitude}")
        if not self.magnitude_std >= 0:
            raise AugmentError(f"magnitude_std must not be negative, got {self.magnitude_std}")


PLAIN = ClipAugment(frames="center", crop="center", operations=0, erase=0.0)
"""No augmentation: every epoch sees the clip that features are extracted from."""


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
            bin_ = round(min(max(magnitude, 0.0), _LEVELS) * _BINS / _LEVELS)
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
