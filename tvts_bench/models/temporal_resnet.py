"""torchvision's ResNets over frames with something done in time in every bottleneck: TSM's and TANet's.

Channels are shifted, or convolved with an adaptive kernel. The blocks are run here step by step, so that the number of
frames is the clips' own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from tvts_bench.models.video_network import frames_of

Blocks = tuple[int, int, int, int]  # a stage


@dataclass(frozen=True, kw_only=True)
class TemporalResNetConfig:
    """The shape of a ResNet of bottlenecks over frames; the defaults are ResNet-50."""

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
        return 224 if self.width >= 64 else 32

    @property
    def label(self) -> str:
        """What a size without a name is called: bottlenecks a stage and frames."""
        return f"{'-'.join(map(str, self.blocks))}_{self.num_frames}f"

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Nothing for any clip: no table binds the network."""
        return ()


class TemporalResNet(nn.Module):
    """torchvision's ResNet of bottlenecks: stem and blocks frame by frame, pooled over space, averaged over time."""

    def __init__(self, blocks: Blocks, width: int) -> None:
        """Builds the network, randomly initialised.

        Args:
            blocks: bottlenecks a stage; (3, 4, 6, 3) is ResNet-50.
            width: channels inside the first stage's bottlenecks; ResNet-50 has 64.
        """
        super().__init__()
        self.resnet = ResNet(Bottleneck, list(blocks), width_per_group=width)
        self.embed_dim = self.resnet.fc.in_features
        self.resnet.fc = nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of clips [B, 3, T, H, W]."""
        net, frames = self.resnet, clips.shape[2]
        x = net.maxpool(net.relu(net.bn1(net.conv1(frames_of(clips)))))  # [B * T, C, H / 4, W / 4]
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in stage:
                x = self._bottleneck(block, x, frames)
        return x.mean(dim=(2, 3)).unflatten(0, (-1, frames)).mean(dim=1)  # type: ignore[no-any-return]

    def _bottleneck(self, block: nn.Module, x: Tensor, frames: int) -> Tensor:
        """What a bottleneck makes of maps, as maps.

        Args:
            block: the bottleneck.
            x: maps [B * T, C, H, W].
            frames: T of the clips.
        """
        raise NotImplementedError


class ShiftResNet(TemporalResNet):
    """TSM: bottlenecks see an eighth of their channels from the next frame, and an eighth from the one before.

    Beyond the clip's ends there are zeros. The skip connection is not shifted.
    """

    def _bottleneck(self, block: nn.Module, x: Tensor, frames: int) -> Tensor:
        """The bottleneck with shifted input; arguments as in the base class."""
        return _residual(block, x, block.relu(block.bn1(block.conv1(shifted(x, frames)))))  # type: ignore[operator]


class AdaptiveResNet(TemporalResNet):
    """TANet: a temporal adaptive module after each bottleneck's first convolution. Clips have `num_frames` frames."""

    def __init__(self, blocks: Blocks, width: int, num_frames: int) -> None:
        """As `TemporalResNet`, with a module `tam` in every block.

        Args:
            blocks: bottlenecks a stage.
            width: channels inside the first stage's bottlenecks.
            num_frames: T, which the modules' weights depend on.
        """
        super().__init__(blocks, width)
        self.num_frames = num_frames
        for block in self.resnet.modules():
            if isinstance(block, Bottleneck):
                block.tam = TemporalAdaptiveModule(block.conv1.out_channels, num_frames)

    def _bottleneck(self, block: nn.Module, x: Tensor, frames: int) -> Tensor:
        """The bottleneck with its adaptive module; arguments as in the base class."""
        return _residual(block, x, block.tam(block.relu(block.bn1(block.conv1(x)))))  # type: ignore[operator]


class TemporalAdaptiveModule(nn.Module):
    """A depth-wise convolution in time whose kernel each clip makes for itself (Liu et al., ICCV 2021, section 3.2).

    A local branch weighs every channel at every time; a global branch makes one kernel a channel for all times.
    """

    KERNEL = 3  # frames
    WIDER = 2  # hidden width of the global branch, in clip lengths
    NARROWER = 4  # channels / hidden channels of the local branch

    def __init__(self, channels: int, num_frames: int) -> None:
        """Both branches; their names, G and L, are those of the official files."""
        super().__init__()
        hidden = num_frames * self.WIDER
        self.num_frames = num_frames
        self.G = nn.Sequential(
            nn.Linear(num_frames, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, self.KERNEL, bias=False),
            nn.Softmax(dim=-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // self.NARROWER, self.KERNEL, padding=self.KERNEL // 2, bias=False),
            nn.BatchNorm1d(channels // self.NARROWER),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels // self.NARROWER, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B * T, C, H, W] from such maps."""
        pooled = x.mean(dim=(2, 3)).unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # [B, C, T]
        kernels = self.G(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])  # [B, C, 3]
        importance = self.L(pooled).transpose(1, 2)[..., None, None]  # [B, T, C, 1, 1]
        weighed = x.unflatten(0, (-1, self.num_frames)) * importance  # [B, T, C, H, W]
        padded = F.pad(weighed, (0, 0, 0, 0, 0, 0, 1, 1))  # a frame of zeros at each end
        taps = kernels[:, None, :, :, None, None].unbind(3)  # 3 of [B, 1, C, 1, 1]
        out = sum(tap * padded[:, i : i + self.num_frames] for i, tap in enumerate(taps))
        assert isinstance(out, Tensor)
        return out.flatten(0, 1)


def shifted(x: Tensor, frames: int) -> Tensor:
    """TSM's shift of maps [B * T, C, H, W]: the first eighth of channels one frame back, the second one ahead."""
    clip = x.unflatten(0, (-1, frames))  # [B, T, C, H, W]
    fold = clip.shape[2] // 8
    out = torch.zeros_like(clip)
    out[:, :-1, :fold] = clip[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clip[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clip[:, :, 2 * fold :]
    return out.flatten(0, 1)


def _residual(block: nn.Module, x: Tensor, out: Tensor) -> Tensor:
    """The rest of a bottleneck whose input was `x`, from behind its first activation `out`."""
    assert isinstance(block, Bottleneck)
    out = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(out)))))
    out += x if block.downsample is None else block.downsample(x)  # in place, as torchvision does: maps are large
    return block.relu(out)  # type: ignore[no-any-return]
