"""TANet (temporal adaptive module) with ResNet-50, from its authors' files and MMAction2's: pooled, averaged.

The module is ours, from the paper; it was not compared with the authors' code, which has no licence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.models.state_dict import renamed, substituted
from tvts_bench.models.temporal_resnet import AdaptiveResNet, TemporalResNetConfig
from tvts_bench.models.video_network import VideoNetworkError


@dataclass(frozen=True, kw_only=True)
class TANetConfig(TemporalResNetConfig):
    """The shape of a TANet, whose modules are for clips of one length."""

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Nothing for any pixels."""
        if frames != self.num_frames:
            raise VideoNetworkError(
                f"it has weights for clips of {self.num_frames} frames and no others:"
                f" set the frames to {self.num_frames}, not {frames}"
            )
        return ()


RESNET50 = TANetConfig()
SIZES = {
    "resnet50_8f": RESNET50,
    "resnet50_16f": replace(RESNET50, num_frames=16),
    "tiny": TANetConfig(blocks=(1, 1, 1, 1), width=8),
}
CARD = ModelCard(
    title="TANet",
    what="ResNet-50 over frames with a temporal kernel that each clip makes for itself, trained with labels",
    weights={
        "ckpt.best.pth.tar": "https://github.com/liu-zhy/temporal-adaptive-module (a Drive folder for each network)",
        "MMAction2's (Kinetics-400)": "https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/tanet",
    },
    licence="none stated by its authors; MMAction2: Apache-2.0",
    supervised="SSv2 or K400 classes, as the file's folder says",
    input="8 or 16 frames (as the file), centres of equal segments, short side 256, crop 224, ImageNet mean and"
    " deviation",
    representation="pooled over space (2048), mean over frames",
    published=(("table5", "TANet"),),
    reference="Liu et al., ICCV 2021",
    tensor_names=("layer1.0.tam.G.0.weight", "layer1.0.tam.L.0.weight", "layer1.0.tam.L.3.weight"),
)
NETWORKS = ("base_model.", "backbone.")  # the authors', MMAction2's
GLOBAL = "layer1.0.tam.G.0.weight"
RENAMED = (
    (f"^(?:{'|'.join(map(re.escape, NETWORKS))})", ""),
    (r"^(layer\d\.\d+)\.(?:net|block)\.", r"\1."),  # the bottleneck that a module is wrapped around
    (r"(^|\.)conv(\d)\.conv\.", r"\1conv\2."),  # MMAction2 keeps a convolution and its norm together
    (r"(^|\.)conv(\d)\.bn\.", r"\1bn\2."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are TANet's tensors: a ResNet with a temporal adaptive module in its blocks."""
    return any(signature.has(f"{prefix}{GLOBAL}") for prefix in NETWORKS)


def infer_config(reader: ConfigReader) -> TANetConfig:
    """The shape of the network, whose modules tell the frames."""
    ours = reader.of(library_names(reader.tensors))
    width, frames = ours.shape("layer1.0.bn1.weight", 1)[0], ours.shape(GLOBAL, 2)[1]
    return TANetConfig(blocks=ours.stages(), width=width, num_frames=frames)


def library_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by torchvision's names, the modules as `tam` of their blocks."""
    return renamed(tensors, lambda name: substituted(name, RENAMED))


FAMILY = Family(
    name="tanet",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=lambda config: AdaptiveResNet(config.blocks, config.width, config.num_frames),
    convert=library_names,
    inside="resnet.",
    clip_spec=partial(square_clip, short_sides={224: 256}),
    ignore=r"new_fc\.|base_model\.fc\.|cls_head\.",
)
