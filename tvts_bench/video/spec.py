"""Every decision that selects a clip's pixels, in one frozen, hashable place. Needs neither torch nor a decoder."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from tvts_bench.errors import UserError
from tvts_bench.provenance import WHERE_SET
from tvts_bench.video.variation import ClipAugment

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MAX_BYTES = 2**28  # of one clip; several are in flight for every worker, and no backbone takes more

Sampling = Literal["segments", "dense", "endpoints"]
Resize = Literal["short_side", "squash"]
Position = Literal["center", "random"]
FrameOrder = Literal["forward", "reversed", "shuffled", "single"]
Interpolation = Literal["bilinear", "bicubic"]


class ClipSpecError(UserError):
    """A field of a clip specification has a value that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What is cut out of a video: which frames, which pixels, how normalised.

    The defaults are TVTS's input (paper, section 4): 16 frames, one from each of 16 equal segments, 224 x 224.
    """

    num_frames: int = 16  # T, frames a clip
    sampling: Sampling = (
        "segments"  # T equal segments; `dense`: every stride-th frame of a window; `endpoints`: T frames
    )
    # evenly spread from the first to the last, both included, which leaves nothing to draw and no other views
    position: Position = "center"  # the frame of a segment (or place of a dense window): middle, or random from `seed`
    stride: int = 4  # frames between frames of a dense clip; unused by the others
    seed: int = 0  # of every random choice; each video derives its own generator from it and the video's id
    frame_order: FrameOrder = "forward"  # temporal controls: reversed, shuffled, or one frame repeated
    short_side: int = 224  # pixels; the frame's shorter side is resized to this, aspect ratio kept (unless squashed)
    resize: Resize = "short_side"  # or `squash`: both sides become `short_side`, whatever the aspect ratio was
    crop: int = 224  # pixels; square, centred unless there are several spatial views
    interpolation: Interpolation = "bilinear"  # always antialiased
    temporal_views: int = 1  # clips a video along time
    spatial_views: Literal[1, 3] = 1  # crops along the longer side: centre, or three evenly spread
    mean: tuple[float, float, float] = IMAGENET_MEAN  # of RGB in 0..1, subtracted on the device
    std: tuple[float, float, float] = IMAGENET_STD
    augment: ClipAugment | None = field(default=None, metadata=WHERE_SET)  # a training view: varied, as `seed` draws

    def __post_init__(self) -> None:
        choices = {
            "sampling": Sampling,
            "position": Position,
            "frame_order": FrameOrder,
            "resize": Resize,
            "interpolation": Interpolation,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ClipSpecError(
                    f"{name} must be one of {', '.join(get_args(allowed))}, got {getattr(self, name)!r}"
                )
        for name in ("num_frames", "stride", "short_side", "crop", "temporal_views"):
            if getattr(self, name) <= 0:
                raise ClipSpecError(f"{name} must be positive, got {getattr(self, name)}")
        if self.spatial_views not in (1, 3):
            raise ClipSpecError(f"spatial_views must be 1 or 3, got {self.spatial_views}")
        if self.crop > self.short_side:
            raise ClipSpecError(f"crop {self.crop} does not fit into short_side {self.short_side}: change both")
        if self.sampling == "endpoints" and (self.position != "center" or self.temporal_views > 1):
            raise ClipSpecError(
                "sampling endpoints takes the same frames each time: position must be center and temporal_views 1,"
                f" got {self.position} and {self.temporal_views}; sampling segments has others"
            )
        if self.resize == "squash" and self.spatial_views > 1:
            raise ClipSpecError(
                f"resize squash leaves no longer side for {self.spatial_views} spatial views to lie along:"
                " take 1, or resize short_side"
            )
        if self.augment is not None and self.spatial_views > 1:
            raise ClipSpecError(f"an augmented clip has one spatial view, got {self.spatial_views}")
        if self.num_bytes > MAX_BYTES:
            raise ClipSpecError(
                f"{self.num_frames} frames of {self.crop} x {self.crop} in {self.num_views} views take"
                f" {self.num_bytes / 2**30:.1f} GiB a clip, more than the {MAX_BYTES / 2**30:g} GiB that is allowed"
            )
        if min(self.std) <= 0:
            raise ClipSpecError(f"std must be positive, got {self.std}")

    @property
    def num_bytes(self) -> int:
        """Bytes of all views of a video, uint8."""
        return self.num_views * self.num_frames * 3 * self.crop**2

    @property
    def num_views(self) -> int:
        """Clips a video: temporal x spatial views."""
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
