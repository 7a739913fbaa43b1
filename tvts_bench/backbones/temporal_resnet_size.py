"""The shape of a ResNet of bottlenecks told from a file: what TSM and TANet share."""

from dataclasses import dataclass

from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.models.checkpoint import CheckpointMismatchError
from tvts_bench.video.spec import ClipSpec

STAGES = ("layer1.", "layer2.", "layer3.", "layer4.")
Blocks = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class TemporalResNetSize:
    """The defaults are ResNet-50."""

    blocks: Blocks = (3, 4, 6, 3)  # bottlenecks a stage
    width: int = 64  # channels inside the first stage's bottlenecks
    num_frames: int = 8

    @property
    def embed_dim(self) -> int:
        """Channels of the last stage, whatever the width inside."""
        return 2048

    @property
    def image_size(self) -> int:
        """Pixels. Nothing in the network depends on it: what its authors used, and less for toys."""
        return 224 if self.width >= RESNET50.width else 32

    @property
    def label(self) -> str:
        """What a size without a name is called: bottlenecks a stage and frames."""
        return f"{'-'.join(map(str, self.blocks))}_{self.num_frames}f"


RESNET50 = TemporalResNetSize()
TINY = TemporalResNetSize(blocks=(1, 1, 1, 1), width=8)


def told_blocks(teller: SizeTeller) -> Blocks:
    """Bottlenecks in each of the four stages.

    Raises:
        CheckpointMismatchError: a stage is missing.
    """
    first, second, third, fourth = (teller.depth(stage) for stage in STAGES)
    if not first * second * third * fourth:
        raise CheckpointMismatchError(f"{teller.source} has no ResNet's four stages, {', '.join(STAGES)}*")
    return first, second, third, fourth


def clip_spec(size: TemporalResNetSize) -> ClipSpec:
    """One frame from each of as many segments as frames, short side 256, crop 224, ImageNet mean and deviation."""
    short_side = 256 if size.image_size == 224 else size.image_size
    return ClipSpec(num_frames=size.num_frames, short_side=short_side, crop=size.image_size)
