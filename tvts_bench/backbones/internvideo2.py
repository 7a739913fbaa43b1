"""InternVideo2: the video encoder of the official files (stage 1 and 2, distilled, fine-tuned), attention-pooled."""

from dataclasses import replace

from tvts_bench.backbones._builder import Family
from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.backbones.model_cards import ModelCard
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.internvideo2 import InternVideo2, InternVideo2Config

BASE = InternVideo2Config()
SIZES = {
    "base": BASE,
    "small": replace(BASE, width=384, num_heads=6, mlp_dim=1536),
    "large": replace(BASE, width=1024, depth=24, num_heads=16, mlp_dim=4096),
    "1b": replace(BASE, width=1408, depth=40, num_heads=16, mlp_dim=6144),
    "6b": replace(BASE, width=3200, depth=48, num_heads=25, mlp_dim=12800),
    "tiny": replace(BASE, width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8, output_dim=128),
}
ENCODER = "vision_encoder."  # prefix of its names in files of stage 2
HUB = "https://huggingface.co/OpenGVLab/"
CARD = ModelCard(
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
TRAINING_ONLY = r"clip_decoder\.|mae_decoder\.|final_clip_decoder\.|clip_pos_embed|clip_img_pos_embed|temp$"
IMAGES_AND_HEADS = r"mae_pos_embed|img_pos_embed|fc_norm\.|head\."


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are InternVideo2's tensors: norms on queries and keys, and an attention pool."""
    return signature.encoder(ENCODER).has("blocks.0.attn.q_norm.weight", "clip_projector.norm1_q.weight")


def infer_config(reader: ConfigReader) -> InternVideo2Config:
    """The shape of an encoder; a table of positions tells frames only where its side is known.

    Raises:
        CheckpointError: it tells none.
    """
    fields = reader.vit(SIZES, norm="blocks.0.norm1.weight")
    width, patch = fields["width"], fields["patch_size"]
    known = next((size for size in SIZES.values() if (size.width, size.patch_size) == (width, patch)), None)
    positions = reader.shape("pos_embed", 3)[1] - 1  # [CLS] has one, too
    grid = known.grid if known else 224 // patch
    if grid == 0 or positions < grid**2 or positions % grid**2:
        raise CheckpointError(
            f"{reader.source}: pos_embed has {positions} places for patches, not a multiple of {grid} x {grid}:"
            " tables of other resolutions cannot be told apart from those of more frames"
        )
    output_dim = reader.shape("clip_projector.cross_attn.proj.bias", 1)[0]
    return InternVideo2Config(**fields, image_size=grid * patch, num_frames=positions // grid**2, output_dim=output_dim)


FAMILY = Family(
    name="internvideo2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=InternVideo2,
    prefix=ENCODER,
    beside=("text_encoder.", "vision_proj.", "text_proj.", "itm_head.", "clip_teacher."),
    ignore=f"{TRAINING_ONLY}|{IMAGES_AND_HEADS}",
)
