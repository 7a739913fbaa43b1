"""Every decision that selects a clip's pixels, frozen and hashable. Needs neither torch nor a decoder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError
from tvts_bench.provenance import WHERE_SET

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MAX_BYTES = 2**28  # of one clip; several are in flight for every worker, and no backbone takes more
MAX_SEED = 2**32 - 1  # what every random generator takes

Colour = tuple[float, float, float]
Sampling = Literal["segments", "dense", "endpoints"]
Resize = Literal["short_side", "squash"]
Position = Literal["center", "random"]
FrameOrder = Literal["forward", "reversed", "shuffled", "single"]
Interpolation = Literal["bilinear", "bicubic"]
Crop = Literal["area", "jitter", "center"]

MAX_MAGNITUDE = 10  # of RandAugment; magnitudes go from 0 to this


class NamedSampling(NamedTuple):
    """A way to choose frames, as users name it."""

    sampling: Sampling
    position: Position
    help: str
    for_training: bool = False  # the augmentation says where in a segment or window, so a name of the position is none


SAMPLINGS: Mapping[str, NamedSampling] = MappingProxyType(
    {
        "center": NamedSampling("segments", "center", "the middle frame of each of equal segments", for_training=True),
        "random": NamedSampling("segments", "random", "a random frame of each segment, the paper's"),
        "dense": NamedSampling("dense", "center", "every --stride-th frame of the middle", for_training=True),
        "endpoints": NamedSampling("endpoints", "center", "evenly spread from the first to the last"),
    }
)
"""The one vocabulary of `--sampling`."""


def named_sampling(name: str, *, for_training: bool = False) -> NamedSampling:
    """The sampling of that name.

    Raises:
        UserError: There is none, or not where clips are trained on.
    """
    known = [each for each, sampling in SAMPLINGS.items() if sampling.for_training or not for_training]
    if name not in known:
        where = " where clips are trained on" if for_training else ""
        raise UserError(f"--sampling must be one of {', '.join(known)}{where}, got {name!r}")
    return SAMPLINGS[name]


def colours(text: str, option: str) -> Colour:
    """Numbers for red, green and blue from "0.485,0.456,0.406"; one stands for all three.

    Raises:
        UserError: It is neither one finite number nor three.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise UserError(f"{option} must be one number or three, such as 0.485,0.456,0.406, got {text!r}")
    red, green, blue = values * 3 if len(values) == 1 else values
    return red, green, blue


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
    jitter: Annotated[tuple[float, float], Option("Shorter side / size of the crop, for `jitter`.")] = (8 / 7, 10 / 7)
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
        parts = (
            f"{self.frames} frames, {self.crop} crop",
            f"mirrored {self.flip:g}" if self.flip else "",
            f"RandAugment m{self.magnitude:g} n{self.operations}" if self.operations else "",
            f"erasing {self.erase:g}" if self.erase else "",
        )
        return ", ".join(filter(None, parts))


PLAIN = ClipAugment(frames="center", crop="center", operations=0, erase=0.0)
"""No augmentation: every epoch sees the clip that features are extracted from."""


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What is cut out of a video: which frames, which pixels, how normalised.

    The defaults are TVTS's input (paper, section 4): 16 frames, one from each of 16 equal segments, 224 x 224.
    """

    # T in shapes
    num_frames: Annotated[int, Option("Frames a clip; the backbone's own by default.", flag="--frames", above=0)] = 16
    # T equal segments; `dense`: every stride-th frame of a window; `endpoints`: T frames evenly spread from the first
    # to the last, both included, which leaves nothing to draw and no other views
    sampling: Sampling = "segments"
    position: Position = "center"  # the frame of a segment (or start of a dense window): middle, or random from `seed`
    stride: Annotated[int, Option("Frames between dense frames.", above=0)] = 4
    seed: int = 0  # of every random choice; each video derives its own generator from it and the video's id
    frame_order: FrameOrder = "forward"  # temporal controls: reversed, shuffled, or one frame repeated
    short_side: Annotated[
        int,
        Option(
            "Pixels that a frame's shorter side is resized to; the backbone's own by default, as for all of these.",
            above=0,
        ),
    ] = 224
    resize: Annotated[Resize, Option("short_side, or squash: both sides become --short-side.")] = "short_side"
    crop: Annotated[int, Option("Pixels of the square cut out of it.", above=0)] = 224  # centred, but for spatial views
    interpolation: Annotated[Interpolation, Option("Of resizing: bilinear or bicubic.")] = "bilinear"  # antialiased
    temporal_views: Annotated[int, Option("Clips a video along time.", above=0)] = 1
    spatial_views: Literal[1, 3] = 1  # crops along the longer side: centre, or three evenly spread
    mean: Annotated[
        Colour,
        Option("Subtracted from red, green and blue in 0..1: 0.45, or 0.485,0.456,0.406.", parse=colours),
    ] = IMAGENET_MEAN  # on the device
    std: Annotated[Colour, Option("What they are then divided by.", parse=colours, above=0)] = IMAGENET_STD
    augment: ClipAugment | None = field(default=None, metadata=WHERE_SET)  # a training view: varied, as `seed` draws

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if self.crop > self.short_side:
            raise UserError(f"crop {self.crop} does not fit into short_side {self.short_side}: change both")
        if self.sampling == "endpoints" and (self.position != "center" or self.temporal_views > 1):
            raise UserError(
                "sampling endpoints takes the same frames each time: position must be center and temporal_views 1,"
                f" got {self.position} and {self.temporal_views}; sampling segments has others"
            )
        if self.resize == "squash" and self.spatial_views > 1:
            raise UserError(
                f"resize squash leaves no longer side for {self.spatial_views} spatial views to lie along:"
                " take 1, or resize short_side"
            )
        if self.augment is not None and self.spatial_views > 1:
            raise UserError(f"an augmented clip has one spatial view, got {self.spatial_views}")
        if self.num_bytes > MAX_BYTES:
            raise UserError(
                f"{self.num_frames} frames of {self.crop} x {self.crop} in {self.num_views} views take"
                f" {self.num_bytes / 2**30:.1f} GiB a clip, more than the {MAX_BYTES / 2**30:g} GiB that is allowed"
            )

    @property
    def num_bytes(self) -> int:
        """Bytes of all views of a video, uint8."""
        return self.num_views * self.num_frames * 3 * self.crop**2

    @property
    def num_views(self) -> int:
        """Clips per video: temporal x spatial views."""
        return self.temporal_views * self.spatial_views

    def varied(self, augment: ClipAugment, seed: int) -> "ClipSpec":
        """One view of the clip as `augment` varies it for training, drawn from `seed`."""
        position = self.position if augment.frames == "center" else "random"
        return replace(self, position=position, temporal_views=1, spatial_views=1, augment=augment, seed=seed)

    def __str__(self) -> str:
        """In words, for the lines under a table: "16 frames, segments/center, 224 x 224, 1 view"."""
        views = f"{self.num_views} view{'s' if self.num_views > 1 else ''}"
        frames = "endpoints" if self.sampling == "endpoints" else f"{self.sampling}/{self.position}"
        squashed = " squashed" if self.resize == "squash" else ""
        return f"{self.num_frames} frames, {frames}, {self.crop} x {self.crop}{squashed}, {views}"


def changed_clip(clip: ClipSpec, *, sampling: str | None = None, views: str | None = None, **fields: Any) -> ClipSpec:
    """A backbone's own clip with what a user changes of it.

    Args:
        clip: The backbone's own.
        sampling: A name of `SAMPLINGS`; None changes nothing.
        views: Temporal x spatial ones: "2x3"; None changes nothing.
        **fields: Fields of the clip.

    Raises:
        UserError: A value that makes no sense, alone or with the others.
    """
    if sampling is not None:
        named = named_sampling(sampling)
        fields |= {"sampling": named.sampling, "position": named.position}
    if views is not None:
        temporal, _, spatial = views.partition("x")
        if not (temporal.isdecimal() and spatial.isdecimal()):
            raise UserError(f"--views must be TEMPORALxSPATIAL such as 1x1 or 2x3, got {views!r}")
        fields |= {"temporal_views": int(temporal), "spatial_views": int(spatial)}
    changed = replace(clip, **fields)
    require_dense(fields.get("stride"), changed.sampling)
    return changed


def require_dense(stride: int | None, sampling: Sampling) -> None:
    """Refuse a stride where no frames are dense.

    Raises:
        UserError: With the option that is missing.
    """
    if stride is not None and sampling != "dense":
        raise UserError(f"--stride {stride} is the distance of dense frames: add --sampling dense")
