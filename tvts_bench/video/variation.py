"""How clips are varied for training, as configuration. Needs neither torch nor a decoder."""

from dataclasses import dataclass
from typing import Literal, get_args

from tvts_bench.errors import UserError

Crop = Literal["area", "jitter", "center"]

MAX_MAGNITUDE = 10  # of RandAugment; magnitudes go from 0 to this


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
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise AugmentError(f"magnitude must be from 0 to {MAX_MAGNITUDE}, got {self.magnitude}")
        if not self.magnitude_std >= 0:
            raise AugmentError(f"magnitude_std must not be negative, got {self.magnitude_std}")

    def __str__(self) -> str:
        """In words, for the lines under a table: "random frames, jitter crop, mirrored 0.5"."""
        parts = [f"{self.frames} frames, {self.crop} crop"]
        if self.flip:
            parts.append(f"mirrored {self.flip:g}")
        if self.operations:
            parts.append(f"RandAugment m{self.magnitude:g} n{self.operations}")
        if self.erase:
            parts.append(f"erasing {self.erase:g}")
        return ", ".join(parts)


PLAIN = ClipAugment(frames="center", crop="center", operations=0, erase=0.0)
"""No augmentation: every epoch sees the clip that features are extracted from."""
