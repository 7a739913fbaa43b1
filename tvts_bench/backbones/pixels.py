"""The mean colour of each cell of an 8 x 8 grid over all frames: a control that sees appearance and no motion."""

from torch import Tensor
from torch.nn import functional as F

from tvts_bench.backbones import Backbone, BackboneError, ModelCard, OpenFamily, WeightSource
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.provenance import digest
from tvts_bench.video.spec import ClipSpec

GRID = 8  # cells along each side
VARIANTS = ("mean8x8",)
CARD = ModelCard(
    title="Pixels (control)",
    what="the mean colour of each cell of an 8 x 8 grid over all frames; learns nothing and sees no motion",
    weights={},
    licence="that of tvts-bench",
    supervised=None,
    input="16 frames of 32 x 32 pixels, centres of equal segments, ImageNet mean and deviation",
    representation="192 mean colours, 3 x 8 x 8",
    published=(),
    reference="tvts-bench",
)


class Pixels(Backbone):
    """Mean over time, then over grid cells: 3 x 8 x 8 = 192 numbers a clip, from 32 x 32 pixels."""

    family = "pixels"

    def __init__(self) -> None:
        """Holds no weights."""
        super().__init__()
        self.variant = VARIANTS[0]
        self.embed_dim = 3 * GRID * GRID
        self.clip_spec = ClipSpec(short_side=32, crop=32)  # cells of 4 x 4 pixels: more would be averaged away
        self.weights = WeightSource(name="no weights", sha256=digest({"backbone": "pixels", "grid": GRID}))

    def forward(self, clips: Tensor) -> Tensor:
        """[B, 192] of clips [B, 3, T, H, W]; H and W may be any size."""
        return F.adaptive_avg_pool2d(clips.mean(dim=2), GRID).flatten(1)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Pixels:
    """The control, always the same.

    Args:
        checkpoint: must be None.
        variant: there is one.
        seed: changes nothing.

    Raises:
        BackboneError: a checkpoint was given.
    """
    if checkpoint is not None:
        raise BackboneError(f"backbone pixels has no weights to load: leave out {checkpoint.path}")
    return Pixels()


FAMILY = OpenFamily(variants=VARIANTS, card=CARD, matches=lambda signature: False, load=load)  # there are no files
