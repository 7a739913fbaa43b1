"""MAE's image encoder over frames: what TVTS's own training starts from."""

from dataclasses import dataclass

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.plain_vit import build, clip_spec, converted, is_plain, told
from tvts_bench.models.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class MAESize(ImageSize):
    """The shape of an MAE; the defaults are ViT-B/16."""

    @property
    def heads(self) -> int:
        """Attention heads: 16 in `huge`, whose heads are wider than 64."""
        return 16 if self.width == 1280 else super().heads


SIZES = {
    "base": MAESize(),
    "large": MAESize(width=1024, depth=24, hidden=4096),
    "huge": MAESize(width=1280, depth=32, patch_size=14, grid=16, hidden=5120),
    "tiny": MAESize(width=128, depth=2, patch_size=8, grid=4, hidden=512),
}
VARIANTS = tuple(SIZES)
URL = "https://dl.fbaipublicfiles.com/mae/pretrain/"
CARD = FamilyCard(
    title="MAE (ImageNet)",
    what="ViT trained to reconstruct the pixels of masked patches of images; each frame on its own, averaged",
    weights={name: f"{URL}{name}" for name in (f"mae_pretrain_vit_{size}.pth" for size in ("base", "large", "huge"))},
    licence="CC BY-NC 4.0, code and weights",
    supervised=None,
    input="16 frames, centres of equal segments, short side 256, crop 224, ImageNet mean and deviation; the number of"
    " frames is ours",
    representation="[CLS] after the final norm (768; 1024 for large, 1280 for huge), mean over frames",
    published=(),
    reference="He et al., CVPR 2022",
    tensor_names=(
        "decoder_blocks.0.attn.qkv.bias",
        "decoder_pos_embed",
        "mask_token",
        "blocks.0.attn.qkv.bias",
        "pos_embed",
    ),
)
OTHER_PARTS = ("decoder_", "mask_token", "head.")


def recognises(layout: Layout) -> bool:
    """Whether these are MAE's tensors: a plain image transformer, with its decoder or as its authors saved it without.

    Without the decoder only `model`, the key that holds the tensors, and the missing head tell it from others.
    """
    encoder_only = layout.container == "model" and not layout.starts("head.", "fc_norm.")
    return is_plain(layout) and (layout.starts("decoder_blocks.") or encoder_only)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="mae",
        sizes=SIZES,
        tell=_size,
        build=build,
        convert=converted,
        unused=lambda name: name.startswith(OTHER_PARTS),
        clip_spec=clip_spec,
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def _size(teller: SizeTeller) -> MAESize:
    return MAESize(**told(teller))
