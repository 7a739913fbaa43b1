"""TSM (temporal shift module) with ResNet-50, from its authors' files: pooled over space, averaged over frames."""

from dataclasses import replace
from functools import partial

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.temporal_resnet import ShiftResNet, TemporalResNetConfig

RESNET50 = TemporalResNetConfig()
SIZES = {
    "resnet50_8f": RESNET50,
    "resnet50_16f": replace(RESNET50, num_frames=16),
    "tiny": TemporalResNetConfig(blocks=(1, 1, 1, 1), width=8),
}
URL = "https://hanlab18.mit.edu/projects/tsm/models/TSM_"
CARD = ModelCard(
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are TSM's tensors: a ResNet whose blocks' first convolution is wrapped."""
    return signature.has("base_model.layer1.0.conv1.net.weight", "base_model.conv1.weight")


def infer_config(reader: ConfigReader) -> TemporalResNetConfig:
    """The shape of the network; its frames are those of the variant that is named.

    Raises:
        CheckpointError: not all blocks are shifted.
    """
    blocks, shifted = reader.stages(), sum(name.endswith(SHIFTED) for name in reader.tensors)
    if shifted != sum(blocks):
        raise CheckpointError(
            f"{reader.source} shifts {shifted} of {sum(blocks)} blocks; only networks that shift all are known"
        )
    frames = SIZES[reader.variant or "resnet50_8f"].num_frames
    return TemporalResNetConfig(blocks=blocks, width=reader.shape("layer1.0.bn1.weight", 1)[0], num_frames=frames)


FAMILY = Family(
    name="tsm",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=lambda config: ShiftResNet(config.blocks, config.width),
    names=((SHIFTED, ".conv1.weight"),),
    inside="resnet.",
    clip_spec=partial(square_clip, short_sides={224: 256}),
    prefix=NETWORK,
    beside=("new_fc.",),
    ignore=r"fc\.",
)
