"""TSM (temporal shift module) with ResNet-50, from its authors' files: pooled over space, averaged over frames."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.temporal_resnet_size import RESNET50, TINY, TemporalResNetSize, clip_spec, told_blocks
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError
from tvts_bench.models.renaming import renamed
from tvts_bench.models.temporal_resnet import ShiftResNet

SIZES = {"resnet50_8f": RESNET50, "resnet50_16f": replace(RESNET50, num_frames=16), "tiny": TINY}
VARIANTS = tuple(SIZES)
URL = "https://hanlab18.mit.edu/projects/tsm/models/TSM_"
CARD = FamilyCard(
    title="TSM",
    what="ResNet-50 over frames with channels shifted in time, trained with labels",
    weights={
        "Something-Something V2, 8 frames": f"{URL}somethingv2_RGB_resnet50_shift8_blockres_avg_segment8_e45.pth",
        "Something-Something V2, 16 frames": f"{URL}somethingv2_RGB_resnet50_shift8_blockres_avg_segment16_e45.pth",
        "Kinetics-400, 8 frames": f"{URL}kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth",
    },
    licence="MIT",
    supervised="SSv2 or K400 classes, as the file's name says",
    input="8 frames (resnet50_16f: 16; files do not say which), centres of equal segments, short side 256, crop 224,"
    " ImageNet mean and deviation",
    representation="pooled over space (2048), mean over frames",
    published=(("table5", "TSM"),),
    reference="Lin et al., ICCV 2019",
    tensor_names=("layer1.0.conv1.net.weight", "layer4.2.conv1.net.weight", "layer1.0.bn1.running_mean"),
)
NETWORK = "base_model."
SHIFTED = ".conv1.net.weight"
HEAD = ("new_fc.", "base_model.fc.")


def recognises(layout: Layout) -> bool:
    """Whether these are TSM's tensors: a ResNet whose blocks' first convolution is wrapped."""
    return layout.has("base_model.layer1.0.conv1.net.weight", "base_model.conv1.weight")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`resnet50_8f` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    frames = SIZES[variant].num_frames if variant is not None else RESNET50.num_frames

    def tell(teller: SizeTeller) -> TemporalResNetSize:
        return _size(teller, frames)

    return FileFamily(
        name="tsm",
        sizes=SIZES,
        tell=tell,
        build=_build,
        convert=converted,
        unused=lambda name: name.startswith(HEAD),
        clip_spec=clip_spec,
    ).load(checkpoint, variant, seed)


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by torchvision's names."""
    return renamed(tensors, lambda name: f"resnet.{name.removeprefix(NETWORK).replace(SHIFTED, '.conv1.weight')}")


def _build(size: TemporalResNetSize) -> nn.Module:
    return ShiftResNet(size.blocks, size.width)


def _size(teller: SizeTeller, frames: int) -> TemporalResNetSize:
    net = SizeTeller({name.removeprefix(NETWORK): tensor for name, tensor in teller.tensors.items()}, teller.source)
    blocks = told_blocks(net)
    shifted = sum(name.endswith(SHIFTED) for name in net.tensors)
    if shifted != sum(blocks):
        raise CheckpointMismatchError(
            f"{teller.source} shifts {shifted} of {sum(blocks)} blocks; only networks that shift all are known"
        )
    return TemporalResNetSize(blocks=blocks, width=net.shape("layer1.0.bn1.weight", 1)[0], num_frames=frames)
