"""MViT (version 1, base) from SlowFast's files and torchvision's: [CLS] after the final norm.

SlowFast's table of positions is for one clip length and resolution; other clips get it resampled, which is ours.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError
from tvts_bench.models.mvit import PATCH, TUBELET, MViTFeatures, MViTSize
from tvts_bench.models.renaming import renamed, substituted
from tvts_bench.video.spec import ClipSpec

SIZES = {
    "base_16x4": MViTSize(),
    "base_32x3": MViTSize(steps=16),
    "tiny": MViTSize(widths=(64, 128, 128, 128), pooled=(1,), head_width=32, grid=8),
}
VARIANTS = tuple(SIZES)
GREY = (0.45, 0.45, 0.45)
SPREAD = (0.225, 0.225, 0.225)
CARD = FamilyCard(
    title="MViT",
    what="multiscale vision transformer (MViT-B), trained with the labels of Kinetics-400",
    weights={
        "MViT-B 16x4 (K400)": "https://drive.google.com/file/d/194gJinVejq6A1FmySNKQ8vAN5-FOY-QL",
        "MViT-B 32x3 (K400)": "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/mvit/k400.pyth",
        "mvit_v1_b-dbeb1030.pth": "https://download.pytorch.org/models/mvit_v1_b-dbeb1030.pth",
    },
    licence="Apache-2.0 (SlowFast), BSD-3-Clause (torchvision)",
    supervised="K400 classes",
    input="16 frames, every 4th, of 224 x 224 (32x3: 32 frames, every 3rd), short side 256, mean 0.45, deviation 0.225",
    representation="[CLS] after the final norm, 768",
    published=(("table4", "MViT"), ("table5", "MViT")),
    reference="Fan et al., ICCV 2021",
    tensor_names=(
        "pos_embed_spatial",
        "pos_embed_temporal",
        "blocks.0.attn.pool_k.weight",
        "blocks.0.attn.norm_k.weight",
    ),
)
HEAD = ("head.",)
TABLES = {
    "cls_token": "pos_encoding.class_token",
    "pos_embed_class": "pos_encoding.class_pos",
    "pos_embed_spatial": "pos_encoding.spatial_pos",
    "pos_embed_temporal": "pos_encoding.temporal_pos",
}
RENAMED = (
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"\.attn\.pool_([qkv])\.weight$", r".attn.pool_\1.pool.weight"),
    (r"\.attn\.norm_([qkv])\.", r".attn.pool_\1.norm_act.0."),
    (r"\.attn\.proj\.", ".attn.project.0."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"^(blocks\.\d+)\.proj\.", r"\1.project."),
)
BOTTLENECKS = re.compile(r"blocks\.(\d+)\.attn\.pool_q\.")


def recognises(layout: Layout) -> bool:
    """Whether these are the tensors of an MViT with separate tables for space and time, as either library has them."""
    return layout.has("pos_embed_spatial", "pos_embed_temporal", "blocks.0.attn.pool_k.weight") or layout.has(
        "pos_encoding.spatial_pos", "pos_encoding.temporal_pos", "blocks.0.attn.pool_k.pool.weight"
    )


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The network with a file's weights, or randomly initialised from `seed` (`base_16x4` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FileFamily(
        name="mvit",
        sizes=SIZES,
        tell=_size,
        build=MViTFeatures,
        convert=lambda tensors: {f"mvit.{name}": tensor for name, tensor in torchvisions(tensors).items()},
        unused=lambda name: name.startswith(HEAD),
        clip_spec=_clip_spec,
        adaptations=_adaptations,
    ).load(checkpoint, variant, seed)


def torchvisions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of SlowFast's names by torchvision's; those that have them already stay as they are."""
    unbatched = {name: _unbatched(tensor) if name in TABLES else tensor for name, tensor in tensors.items()}
    return renamed(unbatched, lambda name: TABLES.get(name) or substituted(name, RENAMED))


def _unbatched(table: Tensor) -> Tensor:
    """SlowFast's tables have a batch dimension of 1, [CLS] another one."""
    return _unbatched(table[0]) if table.ndim > 1 and len(table) == 1 else table


def _size(teller: SizeTeller) -> MViTSize:
    told = SizeTeller(torchvisions(teller.tensors), teller.source)
    depth = told.depth("blocks.")
    widths = [told.shape(f"blocks.{i}.norm1.weight", 1)[0] for i in range(depth)] + [told.shape("norm.weight", 1)[0]]
    head_width = told.shape("blocks.0.attn.pool_k.pool.weight", 5)[0]
    if odd := [width for width in widths if width % head_width]:
        raise CheckpointMismatchError(f"{told.source}: a width of {odd[0]} is no multiple of the heads' {head_width}")
    return MViTSize(
        widths=tuple(widths),
        pooled=tuple(sorted({int(found[1]) for name in told.tensors if (found := BOTTLENECKS.match(name))})),
        head_width=head_width,
        grid=told.grid(told.shape("pos_encoding.spatial_pos", 2)[0], "pos_encoding.spatial_pos"),
        steps=told.shape("pos_encoding.temporal_pos", 2)[0],
    )


def _clip_spec(size: MViTSize) -> ClipSpec:
    return ClipSpec(
        num_frames=size.num_frames,
        sampling="dense",
        stride=3 if size.num_frames == 32 else 4,
        short_side=256 if size.image_size == 224 else size.image_size,
        crop=size.image_size,
        mean=GREY,
        std=SPREAD,
    )


def _adaptations(name: str, size: MViTSize, own: ClipSpec, clip: ClipSpec) -> tuple[str, ...]:
    if clip.crop % PATCH or clip.num_frames % TUBELET:
        raise BackboneError(
            f"backbone {name} takes crops that are a multiple of {PATCH} pixels and an even number of frames, not"
            f" {clip.num_frames} frames of {clip.crop} pixels"
        )
    side, steps = clip.crop // PATCH, clip.num_frames // TUBELET
    said = []
    if side != size.grid:
        said.append(f"position table {size.grid} x {size.grid} resampled to {side} x {side}, bicubic, antialiased")
    if steps != size.steps:
        said.append(f"table of {size.steps} times resampled to {steps}, linear")
    return tuple(said)
