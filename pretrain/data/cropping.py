"""Frames to the square that a model sees. One draw for a whole clip: a crop that moved would be motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError

from torchvision.transforms.v2 import functional as F  # isort: skip

Style = Literal["resize", "area"]
_AREA_RATIO = (3 / 4, 4 / 3)  # width to height of a crop by area, as is usual
_ATTEMPTS = 10


class CropError(UserError):
    """A crop configuration that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How frames are cut. The defaults are those of TVTS's code for video: short side 268, random crop of 224."""

    size: Annotated[int, Option("Pixels, height and width of what the model sees.")] = 224
    short_side: Annotated[
        int, Option("Pixels; the frame's shorter side is resized to this before cropping.", most=8_192)
    ] = 268
    style: Annotated[Style, Option("`area`: a random part of the frame instead (TVTS's code for CC3M images).")] = (
        "resize"
    )
    area: Annotated[tuple[float, float], Option("Share of the frame's area, for `area`.")] = (0.5, 1.0)
    flip: Annotated[
        float, Option("Probability of mirroring; it turns left into right, so never where direction matters.")
    ] = 0.0

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise CropError(f"crop style must be one of {', '.join(get_args(Style))}, got {self.style!r}")
        if not 0 < self.size <= self.short_side:
            raise CropError(f"size must be positive and fit into short_side {self.short_side}, got {self.size}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise CropError(f"area must be two increasing shares in (0, 1], got {self.area}")
        if not 0 <= self.flip <= 1:
            raise CropError(f"flip is a probability, got {self.flip}")


def crop_clip(frames: NDArray[np.uint8], config: CropConfig, rng: np.random.Generator | None) -> Tensor:
    """Frames [T, H, W, 3] as uint8 [3, T, size, size]: a random crop, or the centre if `rng` is None."""
    planes = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)  # [T, 3, H, W]
    height, width = frames.shape[1:3]
    size = [config.size, config.size]
    if rng is not None and config.style == "area":
        planes = F.resized_crop(planes, *_area_box(height, width, config.area, rng), size, antialias=True)
    else:
        planes = F.resize(planes, _resized(height, width, config.short_side), antialias=True)
        free = [planes.shape[-2] - config.size, planes.shape[-1] - config.size]
        top, left = (side // 2 if rng is None else int(rng.integers(side + 1)) for side in free)
        planes = planes[:, :, top : top + config.size, left : left + config.size]
    if rng is not None and rng.random() < config.flip:
        planes = planes.flip(-1)
    clip: Tensor = planes.permute(1, 0, 2, 3).contiguous()  # [3, T, size, size]
    return clip


def _resized(height: int, width: int, short_side: int) -> list[int]:
    """Height and width with the shorter side at `short_side`, aspect ratio kept."""
    scale = short_side / min(height, width)
    return [max(round(height * scale), short_side), max(round(width * scale), short_side)]


def _area_box(
    height: int, width: int, area: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part; the whole frame if none that fits is found."""
    for _ in range(_ATTEMPTS):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(_AREA_RATIO[0]), math.log(_AREA_RATIO[1])))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide
    return 0, 0, height, width
