"""How clips are varied for training, as configuration. Needs neither torch nor a decoder."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError

Crop = Literal["area", "jitter", "center"]

MAX_MAGNITUDE = 10  # of RandAugment; magnitudes go from 0 to this


@dataclass(frozen=True, kw_only=True)
class ClipAugment:
    """How a training clip is varied. The defaults are TVTS's fine-tuning and online probe on SSV2.

    RandAugment follows `rand-m7-n4-mstd0.5-inc1`: torchvision's operations at the same strength for all but Posterize
    (weaker, as in the paper of RandAugment), with Identity in place of Invert and SolarizeAdd.
    """

    frames: Annotated[
        Literal["random", "center"], Option("Of each segment (or the window's place): drawn anew every epoch.")
    ] = "random"
    crop: Annotated[
        Crop, Option("area: a random part of the frame; jitter: resized, then cut; center: as in testing.")
    ] = "area"
    area: Annotated[tuple[float, float], Option("Share of the frame's area, for `area`.")] = (0.08, 1.0)
    aspect: Annotated[tuple[float, float], Option("Width / height of that part.")] = (3 / 4, 4 / 3)
    jitter: Annotated[tuple[float, float], Option("Shorter side / size of the crop, for `jitter`.")] = (
        256 / 224,
        320 / 224,
    )
    # Mirroring turns left into right, so never where direction is the class.
    flip: Annotated[float, Option("Probability of mirroring.", least=0, most=1)] = 0.0
    operations: Annotated[int, Option("Of RandAugment; 0: none.", least=0)] = 4
    magnitude: Annotated[float, Option("Of each operation.", least=0, most=MAX_MAGNITUDE)] = 7.0
    magnitude_std: Annotated[float, Option("Standard deviation of the magnitude.", least=0)] = 0.5
    operation_prob: Annotated[float, Option("Probability of each of the operations.", least=0, most=1)] = 0.5
    erase: Annotated[
        float,
        Option("Probability that a rectangle, the same in every frame, is filled with noise.", least=0, most=1),
    ] = 0.25

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"area must be two increasing shares in (0, 1], got {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UserError(f"aspect must be two increasing positive ratios, got {self.aspect}")
        if not 1 <= self.jitter[0] <= self.jitter[1]:
            raise UserError(f"jitter must be two increasing factors of at least 1, got {self.jitter}")

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
