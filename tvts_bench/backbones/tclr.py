"""TCLR from its authors' files: R(2+1)D-18 or R3D-18 whose last stage keeps all times, on frames in BGR.

The networks are torchvision's, of which the first block of the last stage is changed. Files of torchvision itself have
the same names and shapes and are another network: only the authors' files, with their prefix, are taken.
"""

import re
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, Tensors, square_clip

from torchvision.models.video import resnet as resnet3d  # isort: skip


@dataclass(frozen=True, kw_only=True)
class TCLRConfig:
    """The shape of a network of TCLR; the defaults are R(2+1)D-18."""

    separable: bool = True  # convolutions in space and in time, one after the other
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)  # of each stage

    @property
    def embed_dim(self) -> int:
        """Channels of the last stage."""
        return 512

    @property
    def label(self) -> str:
        """What a size without a name is called."""
        return f"{'r2plus1d' if self.separable else 'r3d'}_{'-'.join(map(str, self.blocks))}"

    @property
    def image_size(self) -> int:
        """Pixels that its authors used, and less for toys."""
        return 112 if self.blocks == (2, 2, 2, 2) else 32

    @property
    def num_frames(self) -> int:
        """Frames that its authors used."""
        return 16

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Nothing for any clip: no table binds the network."""
        return ()


class DilatedResNet(nn.Module):
    """TCLR: a 3D ResNet whose last stage is dilated in time, not halving it, on BGR; pooled over space and time."""

    def __init__(self, blocks: tuple[int, int, int, int], *, separable: bool) -> None:
        """Builds the network, randomly initialised.

        Args:
            blocks: a stage; (2, 2, 2, 2) is R3D-18 and R(2+1)D-18.
            separable: convolutions in space and in time apart, R(2+1)D.
        """
        super().__init__()
        self.resnet = resnet3d.VideoResNet(
            block=resnet3d.BasicBlock,
            conv_makers=[resnet3d.Conv2Plus1D if separable else resnet3d.Conv3DSimple] * 4,
            layers=list(blocks),
            stem=resnet3d.R2Plus1dStem if separable else resnet3d.BasicStem,
        )
        self.resnet.fc = nn.Identity()
        first = self.resnet.layer4[0]
        dilated = nn.Conv3d(256, 512, 3, stride=(1, 2, 2), padding=(2, 1, 1), dilation=(2, 1, 1), bias=False)
        first.conv1[0] = dilated
        first.downsample[0] = nn.Conv3d(256, 512, 1, stride=(1, 2, 2), bias=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, 512] of clips [B, 3, T, H, W] in RGB, which are turned into BGR."""
        return self.resnet(clips.flip(1))  # type: ignore[no-any-return]


SIZES = {
    "r2plus1d_18": TCLRConfig(),
    "r3d_18": TCLRConfig(separable=False),
    "tiny": TCLRConfig(separable=False, blocks=(1, 1, 1, 1)),
}
DRIVE = "https://drive.google.com/file/d/"
CARD = ModelCard(
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are TCLR's tensors: a 3D ResNet and a projection, one after the other."""
    return signature.has("0.stem.0.weight", "0.layer4.0.conv1.0.weight") and signature.starts(PROJECTION)


def infer_config(reader: ConfigReader) -> TCLRConfig:
    """The shape of the network under the authors' prefix."""
    separable = f"{NETWORK}layer1.0.conv1.0.3.weight" in reader.tensors
    return TCLRConfig(separable=separable, blocks=reader.stages(NETWORK))


def converted(tensors: Tensors) -> dict[str, Tensor]:
    """The file's tensors by torchvision's names; what lacks the authors' prefix keeps its name, and is refused."""
    return {re.sub(r"^0\.", "resnet.", name): tensor for name, tensor in tensors.items()}


FAMILY = Family(
    name="tclr",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=lambda config: DilatedResNet(config.blocks, separable=config.separable),
    convert=converted,
    clip_spec=partial(square_clip, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    ignore=r"1\.|0\.fc\.",
)
