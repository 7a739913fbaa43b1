"""TCLR from its authors' files: R(2+1)D-18 or R3D-18 whose last stage keeps all times, on frames in BGR.

The networks are torchvision's, of which the first block of the last stage is changed. Files of torchvision itself have
the same names and shapes and are another network: only the authors' files, with their prefix, are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError
from tvts_bench.models.dilated_resnet import DilatedResNet
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True)
class TCLRSize:
    """The shape of a network of TCLR; the defaults are R(2+1)D-18."""

    separable: bool = True  # convolutions in space and in time, one after the other
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)  # a stage

    @property
    def embed_dim(self) -> int:
        """Channels of the last stage."""
        return 512

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{'r2plus1d' if self.separable else 'r3d'}_{'-'.join(map(str, self.blocks))}"


SIZES = {
    "r2plus1d_18": TCLRSize(),
    "r3d_18": TCLRSize(separable=False),
    "tiny": TCLRSize(separable=False, blocks=(1, 1, 1, 1)),
}
VARIANTS = tuple(SIZES)
DRIVE = "https://drive.google.com/file/d/"
CARD = FamilyCard(
    title="TCLR",
    what="3D ResNet trained to tell clips of one video from one another in time, and videos from each other",
    weights={
        "R(2+1)D-18, Kinetics-400": f"{DRIVE}1cuM4vFJA8wDDYmkQeAhwBUDQD0aDGmqD",
        "R3D-18, Kinetics-400": f"{DRIVE}1m-u8N18dYFqP9B2JF3dEYOowKg3xDrds",
        "R3D-18, UCF101": f"{DRIVE}1wGr6KsC4TcRweAGOFwmOYBPeZe0oGV7r",
    },
    licence="MIT",
    supervised=None,
    input="16 frames of 112 x 112, centres of equal segments (its own sampling is not known), values 0 to 1, BGR",
    representation="pooled over space and time, 512",
    published=(("table7", "TCLR"),),
    reference="Dave et al., CVIU 2022",
    tensor_names=("0.stem.0.weight", "0.layer1.0.conv1.0.weight", "0.layer4.0.downsample.0.weight"),
)
NETWORK, PROJECTION = "0.", "1."  # the two parts that the authors trained as one


def recognises(layout: Layout) -> bool:
    """Whether these are TCLR's tensors: a 3D ResNet and a projection, one after the other."""
    return layout.has("0.stem.0.weight", "0.layer4.0.conv1.0.weight") and layout.starts(PROJECTION)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`r2plus1d_18` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="tclr",
        sizes=SIZES,
        tell=_size,
        build=lambda size: DilatedResNet(size.blocks, separable=size.separable),
        convert=converted,
        unused=lambda name: name.startswith((PROJECTION, "0.fc.")),
        clip_spec=_clip_spec,
    ).load(checkpoint, variant, seed)


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by torchvision's names; what lacks the authors' prefix keeps its name, and is refused."""
    return {
        f"resnet.{name.removeprefix(NETWORK)}" if name.startswith(NETWORK) else name: tensor
        for name, tensor in tensors.items()
    }


def _size(teller: SizeTeller) -> TCLRSize:
    first, second, third, fourth = (teller.depth(f"{NETWORK}layer{stage}.") for stage in range(1, 5))
    if not first * second * third * fourth:
        raise CheckpointMismatchError(
            f"{teller.source} has no ResNet's four stages, {NETWORK}layer1.* to {NETWORK}layer4.*, as TCLR's own files"
        )
    separable = f"{NETWORK}layer1.0.conv1.0.3.weight" in teller.tensors
    return TCLRSize(separable=separable, blocks=(first, second, third, fourth))


def _clip_spec(size: TCLRSize) -> ClipSpec:
    crop = 112 if size.blocks == (2, 2, 2, 2) else 32  # the latter for toys
    return ClipSpec(short_side=crop, crop=crop, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
