"""V-JEPA 2: the target encoder of the official files, the mean of its tokens."""

import math
from dataclasses import replace

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.vjepa2 import VJEPA2, VJEPA2Size, library_names
from tvts_bench.video.spec import ClipSpec

LARGE = VJEPA2Size(width=1024, depth=24, num_heads=16, mlp_dim=4096, image_size=256)
GIANT = replace(LARGE, width=1408, depth=40, num_heads=22, mlp_dim=6144)
SIZES = {
    "large": LARGE,
    "huge": replace(LARGE, width=1280, depth=32, num_heads=16, mlp_dim=5120),
    "giant": GIANT,
    "tiny": VJEPA2Size(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
}
GIANT_384 = "giant_384"  # told from `giant` by the file's name alone: rotary positions leave no trace of the resolution
VARIANTS = (*SIZES, GIANT_384)
ENCODER = "backbone."  # prefix of its names
V1_STEPS, V1_LARGEST_GRID = 8, 24  # of the position tables that V-JEPA 1 uses: 8 x G x G tokens
URL = "https://dl.fbaipublicfiles.com/vjepa2/"
CARD = FamilyCard(
    title="V-JEPA 2",
    what="ViT with joint space-time attention and rotary positions, trained to predict its own averaged features of"
    " masked regions",
    weights={name: f"{URL}{name}" for name in ("vitl.pt", "vith.pt", "vitg.pt", "vitg-384.pt")},
    licence="MIT, parts Apache-2.0",
    supervised=None,
    input="16 frames with stride 4, short side 292, crop 256 (giant_384: 438 and 384), ImageNet mean and deviation",
    representation="mean of all tokens after the final norm, 1024 (huge 1280, giant 1408); its authors evaluate with an"
    " attentive probe on the tokens",
    published=(),
    reference="Assran et al., arXiv 2506.09985",
    tensor_names=("backbone.patch_embed.proj.weight", "backbone.blocks.0.attn.qkv.bias", "backbone.norm.weight"),
)


def _size(teller: SizeTeller) -> VJEPA2Size:
    width = teller.width("norm.weight")
    _, _, tubelet, _, patch = teller.shape("patch_embed.proj.weight", 5)
    known = next((size for size in SIZES.values() if (size.width, size.patch_size) == (width, patch)), None)
    return VJEPA2Size(
        width=width,
        depth=teller.depth("blocks."),
        num_heads=known.num_heads if known else width // 64,
        mlp_dim=teller.hidden("blocks.", ".mlp.fc1.bias"),
        image_size=known.image_size if known else 16 * patch,
        patch_size=patch,
        tubelet=tubelet,
    )


def _clip_spec(size: VJEPA2Size) -> ClipSpec:
    short = size.image_size * 256 // 224 if size.image_size >= 224 else size.image_size
    return ClipSpec(num_frames=size.num_frames, sampling="dense", stride=4, short_side=short, crop=size.image_size)


FAMILY = video_family(
    name="vjepa2",
    sizes=SIZES,
    build=VJEPA2,
    tell=_size,
    convert=library_names,
    clip_spec=_clip_spec,
    prefix=ENCODER,
    inner=lambda name: name == "pos_embed",  # an unused table of the official code
)


def recognises(layout: Layout) -> bool:
    """Whether these are V-JEPA 2's tensors: V-JEPA's, without a table of positions or with one that is too long."""
    encoder = encoder_layout(layout, ENCODER)
    if not encoder.has("patch_embed.proj.weight", "blocks.0.attn.qkv.bias", "norm.weight"):
        return False
    if encoder.has("cls_token") or encoder.starts("head.", "fc_norm.") or encoder.has("temporal_embed"):
        return False
    if len(encoder.shapes["patch_embed.proj.weight"]) != 5:
        return False
    table = encoder.shapes.get("pos_embed")
    if table is None:
        return True
    side = math.isqrt(table[1] // V1_STEPS) if len(table) == 3 else 0
    return side > V1_LARGEST_GRID


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
        LibraryError: transformers, which has the network, is missing or too old.
    """
    if variant == GIANT_384:
        sizes = {GIANT_384: replace(GIANT, image_size=384)}
        larger = replace(FAMILY, sizes=sizes, tell=lambda teller: replace(FAMILY.tell(teller), image_size=384))
        return larger.load(checkpoint, variant, seed)
    return FAMILY.load(checkpoint, variant, seed)
