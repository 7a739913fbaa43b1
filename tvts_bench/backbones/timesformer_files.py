"""TimeSformer's tensors in files, under the names that its own code and SVT's save them by."""

from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.timesformer import TimeSformerSize
from tvts_bench.video.spec import ClipSpec

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
BASE = TimeSformerSize()
TINY = TimeSformerSize(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8)
SHORT_SIDES = {224: 256, 448: 512}  # pixels, of the crops that the authors use


def is_timesformer(layout: Layout) -> bool:
    """Whether these are the tensors of a TimeSformer, trained by whomever."""
    return layout.has("cls_token", "pos_embed", "time_embed", "blocks.0.temporal_attn.qkv.weight")


def has_dino_head(layout: Layout) -> bool:
    """Whether there is the projection head of self-distillation, which SVT trains with."""
    return layout.starts("head.mlp.", "head.last_layer.")


def told(teller: SizeTeller) -> TimeSformerSize:
    """The size of a TimeSformer whose tensors these are."""
    width = teller.width("norm.weight")
    patch = teller.shape("patch_embed.proj.weight", 4)[-1]
    return TimeSformerSize(
        width=width,
        depth=teller.depth("blocks."),
        num_heads=width // 64,
        mlp_dim=teller.hidden("blocks.", ".mlp.fc1.bias"),
        patch_size=patch,
        image_size=patch * teller.grid(teller.shape("pos_embed", 3)[1] - 1, "pos_embed"),
        num_frames=teller.shape("time_embed", 3)[1],
    )


def clip_spec(size: TimeSformerSize) -> ClipSpec:
    """One frame of each of equal segments, a centre crop, one mean and deviation for all colours."""
    crop = size.image_size
    return ClipSpec(num_frames=size.num_frames, short_side=SHORT_SIDES.get(crop, crop), crop=crop, mean=MEAN, std=STD)
