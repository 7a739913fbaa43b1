"""TANet (temporal adaptive module) with ResNet-50, from its authors' files and MMAction2's: pooled, averaged.

The module is ours, from the paper; it was not compared with the authors' code, which has no licence.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.temporal_resnet_size import RESNET50, TINY, TemporalResNetSize, clip_spec, told_blocks
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.renaming import renamed, substituted
from tvts_bench.models.temporal_resnet import AdaptiveResNet
from tvts_bench.video.spec import ClipSpec

SIZES = {"resnet50_8f": RESNET50, "resnet50_16f": replace(RESNET50, num_frames=16), "tiny": TINY}
VARIANTS = tuple(SIZES)
CARD = FamilyCard(
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
HEAD = ("new_fc.", "base_model.fc.", "cls_head.")
RENAMED = (
    (f"^(?:{'|'.join(map(re.escape, NETWORKS))})", ""),
    (r"^(layer\d\.\d+)\.(?:net|block)\.", r"\1."),  # the bottleneck that a module is wrapped around
    (r"(^|\.)conv(\d)\.conv\.", r"\1conv\2."),  # MMAction2 keeps a convolution and its norm together
    (r"(^|\.)conv(\d)\.bn\.", r"\1bn\2."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
)


def recognises(layout: Layout) -> bool:
    """Whether these are TANet's tensors: a ResNet with a temporal adaptive module in its blocks."""
    return any(layout.has(f"{prefix}{GLOBAL}") for prefix in NETWORKS)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`resnet50_8f` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="tanet",
        sizes=SIZES,
        tell=_size,
        build=_build,
        convert=lambda tensors: {f"resnet.{name}": tensor for name, tensor in torchvisions(tensors).items()},
        unused=lambda name: name.startswith(HEAD),
        clip_spec=clip_spec,
        adaptations=_adaptations,
    ).load(checkpoint, variant, seed)


def torchvisions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by torchvision's names, the modules as `tam` of their blocks."""
    return renamed(tensors, lambda name: substituted(name, RENAMED))


def _build(size: TemporalResNetSize) -> nn.Module:
    return AdaptiveResNet(size.blocks, size.width, size.num_frames)


def _size(teller: SizeTeller) -> TemporalResNetSize:
    net = SizeTeller(torchvisions(teller.tensors), teller.source)
    width, frames = net.shape("layer1.0.bn1.weight", 1)[0], net.shape(GLOBAL, 2)[1]
    return TemporalResNetSize(blocks=told_blocks(net), width=width, num_frames=frames)


def _adaptations(name: str, size: TemporalResNetSize, own: ClipSpec, clip: ClipSpec) -> tuple[str, ...]:
    if clip.num_frames != size.num_frames:
        raise BackboneError(
            f"backbone {name} has weights for clips of {size.num_frames} frames and no others:"
            f" set the frames to {size.num_frames}, not {clip.num_frames}"
        )
    return ()
