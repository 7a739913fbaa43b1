"""InternVideo2: the video encoder of the official files (stage 1 and 2, distilled, fine-tuned), attention-pooled."""

from dataclasses import replace

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import SizeTeller
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.video_family import encoder_layout, video_family
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError
from tvts_bench.models.internvideo2 import InternVideo2, InternVideo2Config
from tvts_bench.video.spec import ClipSpec

BASE = InternVideo2Config()
SIZES = {
    "base": BASE,
    "small": replace(BASE, width=384, num_heads=6, mlp_dim=1536),
    "large": replace(BASE, width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "1b": replace(BASE, width=1408, depth=40, num_heads=16, mlp_dim=6144),
    "6b": replace(BASE, width=3200, depth=48, num_heads=25, mlp_dim=12800),
    "tiny": replace(BASE, width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8, output_dim=128),
}
VARIANTS = tuple(SIZES)
ENCODER = "vision_encoder."  # prefix of its names in files of stage 2
HUB = "https://huggingface.co/OpenGVLab/"
CARD = FamilyCard(
    title="InternVideo2",
    what="ViT with joint space-time attention, trained to predict the features of an image and a video teacher, then"
    " (stage 2) to match videos with texts; S, B and L are distilled from 1B",
    weights={
        "1B stage 1, 8 frames: pretrain.pth": f"{HUB}InternVideo2-Stage1-1B-224p-f8",
        "1B stage 2, 4 frames": f"{HUB}InternVideo2-Stage2_1B-224p-f4",
        "S, B, L distilled: stage1/*_dist_1B_stage2/pytorch_model.bin": f"{HUB}InternVideo2_distillation_models",
    },
    licence="Apache-2.0 (the hub's card of stage 2, 6B: MIT)",
    supervised="K710 and other classes in fine-tuned files; none in others, but the teachers saw image-text pairs",
    input="8 frames of 224 x 224 (4 from stage 2), centres of equal segments, ImageNet mean and deviation",
    representation="attention-pooled embedding (clip_projector), 768, before the projection into the space of texts",
    published=(),
    reference="Wang et al., ECCV 2024",
    tensor_names=(
        "blocks.0.attn.q_norm.weight",
        "blocks.0.ls1.gamma",
        "clip_projector.norm1_q.weight",
        "clip_projector.cross_attn.q_bias",
    ),
)
DECODERS = ("clip_decoder.", "mae_decoder.", "final_clip_decoder.", "clip_pos_embed", "clip_img_pos_embed")
IMAGES_AND_HEADS = ("mae_pos_embed", "img_pos_embed", "fc_norm.", "head.")


def _size(teller: SizeTeller) -> InternVideo2Config:
    width = teller.width("blocks.0.norm1.weight")
    patch = teller.shape("patch_embed.proj.weight", 5)[-1]
    known = next((size for size in SIZES.values() if (size.width, size.patch_size) == (width, patch)), None)
    places = teller.shape("pos_embed", 3)[1] - 1  # [CLS] has one, too
    grid = known.grid if known else 224 // patch
    if grid == 0 or places < grid**2 or places % grid**2:
        raise CheckpointMismatchError(
            f"{teller.source}: pos_embed has {places} places for patches, not a multiple of {grid} x {grid}:"
            " tables of other resolutions cannot be told apart from those of more frames"
        )
    return InternVideo2Config(
        width=width,
        depth=teller.depth("blocks."),
        num_heads=known.num_heads if known else width // 64,
        mlp_dim=teller.hidden("blocks.", ".mlp.fc1.bias"),
        image_size=grid * patch,
        patch_size=patch,
        num_frames=places // grid**2,
        output_dim=teller.shape("clip_projector.cross_attn.proj.bias", 1)[0],
    )


def _clip_spec(size: InternVideo2Config) -> ClipSpec:
    return ClipSpec(num_frames=size.num_frames, short_side=size.image_size, crop=size.image_size)


FAMILY = video_family(
    name="internvideo2",
    sizes=SIZES,
    build=InternVideo2,
    tell=_size,
    convert=dict,
    clip_spec=_clip_spec,
    prefix=ENCODER,
    others=("text_encoder.", "vision_proj.", "text_proj.", "itm_head.", "clip_teacher."),
    inner=lambda name: name == "temp" or name.startswith((*DECODERS, *IMAGES_AND_HEADS)),
)


def recognises(layout: Layout) -> bool:
    """Whether these are InternVideo2's tensors: norms on queries and keys, and an attention pool."""
    return encoder_layout(layout, ENCODER).has("blocks.0.attn.q_norm.weight", "clip_projector.norm1_q.weight")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The encoder with a file's weights, or randomly initialised from `seed`.

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    return FAMILY.load(checkpoint, variant, seed)
