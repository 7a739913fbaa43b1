"""TCLR's 3D ResNets: torchvision's with a last stage that is dilated in time instead of halving it, on BGR."""

from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision

from torchvision.models.video.resnet import (  # isort: skip
    BasicBlock,
    BasicStem,
    Conv2Plus1D,
    Conv3DSimple,
    R2Plus1dStem,
    VideoResNet,
)


class DilatedResNet(nn.Module):
    """Pooled over space and time."""

    def __init__(self, blocks: tuple[int, int, int, int], *, separable: bool) -> None:
        """Builds the network, randomly initialised.

        Args:
            blocks: a stage; (2, 2, 2, 2) is R3D-18 and R(2+1)D-18.
            separable: convolutions in space and in time apart, R(2+1)D.
        """
        super().__init__()
        self.resnet = VideoResNet(
            block=BasicBlock,
            conv_makers=[Conv2Plus1D if separable else Conv3DSimple] * 4,
            layers=list(blocks),
            stem=R2Plus1dStem if separable else BasicStem,
        )
        self.resnet.fc = nn.Identity()
        first = self.resnet.layer4[0]
        dilated = nn.Conv3d(256, 512, 3, stride=(1, 2, 2), padding=(2, 1, 1), dilation=(2, 1, 1), bias=False)
        first.conv1[0] = dilated
        first.downsample[0] = nn.Conv3d(256, 512, 1, stride=(1, 2, 2), bias=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, 512] of clips [B, 3, T, H, W] in RGB, which are turned into BGR."""
        return self.resnet(clips.flip(1))  # type: ignore[no-any-return]
