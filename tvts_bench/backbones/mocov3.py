"""MoCo v3 over frames, from its authors' ImageNet files; the video re-training that the paper quotes is not public."""

from dataclasses import dataclass
from functools import partial

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.plain_vit import build, clip_spec, converted, is_plain, told
from tvts_bench.models.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class MoCoSize(ImageSize):
    """The shape of a MoCo v3; the defaults are ViT-B/16."""

    @property
    def heads(self) -> int:
        """Attention heads: 12 in `small`, twice as many as others have at its width."""
        return 12 if self.width == 384 else super().heads


SIZES = {
    "base": MoCoSize(),
    "small": MoCoSize(width=384, hidden=1536),
    "tiny": MoCoSize(width=128, depth=2, patch_size=8, grid=4, hidden=512),
}
VARIANTS = tuple(SIZES)
URL = "https://dl.fbaipublicfiles.com/moco-v3/"
CARD = FamilyCard(
    title="MoCo v3 (ImageNet)",
    what="ViT trained by contrasting two views of an image; each frame on its own, averaged",
    weights={
        "vit-b-300ep.pth.tar": f"{URL}vit-b-300ep/vit-b-300ep.pth.tar",
        "vit-s-300ep.pth.tar": f"{URL}vit-s-300ep/vit-s-300ep.pth.tar",
        "trained on Kinetics-400 (the paper's row)": "no public file: none found",
    },
    licence="CC BY-NC 4.0, code and weights",
    supervised=None,
    input="16 frames, centres of equal segments, short side 256, crop 224, ImageNet mean and deviation; the number of"
    " frames is ours",
    representation="[CLS] after the final norm (768; 384 for small), mean over frames",
    published=(("table5", "MoCo v3"),),
    reference="Chen et al., ICCV 2021",
    tensor_names=(
        "base_encoder.blocks.0.attn.qkv.bias",
        "momentum_encoder.blocks.0.attn.qkv.bias",
        "predictor.0.weight",
    ),
)
ENCODER = "base_encoder."  # the one its authors evaluate
OTHER_PARTS = ("momentum_encoder.", "predictor.", "base_encoder.head.", "head.")


def recognises(layout: Layout) -> bool:
    """Whether these are the tensors of MoCo v3's training: an image transformer beside its momentum encoder."""
    return is_plain(layout.under(ENCODER))


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    whole = checkpoint is not None and any(ENCODER in name for name in checkpoint.tensors)
    prefix = ENCODER if whole else ""  # files of its linear classifier hold the encoder alone
    return FileFamily(
        name="mocov3",
        sizes=SIZES,
        tell=partial(_size, prefix=prefix),
        build=build,
        convert=partial(converted, prefix=prefix),
        unused=lambda name: name.startswith(OTHER_PARTS),
        clip_spec=clip_spec,
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def _size(teller: SizeTeller, prefix: str) -> MoCoSize:
    return MoCoSize(**told(teller, prefix))
