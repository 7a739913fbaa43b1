"""CLIP's image encoder over frames, from OpenAI's files: pre-norm, quick GELU, projected into the space of texts.

`<size>` gives the projected embedding (what is compared with texts), `<size>_ln_post` the wider one before it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.video.spec import ClipSpec

from timm.models.vision_transformer import VisionTransformer  # isort: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CLIPSize(ImageSize):
    """The shape of an image encoder of CLIP."""

    projection: int = 512  # width of the space shared with texts
    projected: bool = True

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.projection if self.projected else self.width


PROJECTED = {
    "base": CLIPSize(),
    "base_patch32": CLIPSize(patch_size=32, grid=7),
    "large": CLIPSize(width=1024, depth=24, patch_size=14, grid=16, hidden=4096, projection=768),
    "large_336": CLIPSize(width=1024, depth=24, patch_size=14, grid=24, hidden=4096, projection=768),
    "tiny": CLIPSize(width=128, depth=2, patch_size=8, grid=4, hidden=512, projection=64),
}
SUFFIX = "_ln_post"  # of the variants without the projection
UNPROJECTED = {name + SUFFIX: replace(size, projected=False) for name, size in PROJECTED.items()}
VARIANTS = (*PROJECTED, *UNPROJECTED)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
OPENAI = "https://openaipublic.azureedge.net/clip/models/"
CARD = FamilyCard(
    title="CLIP",
    what="ViT trained to match 400 million images with their texts; each frame on its own, averaged",
    weights={
        "ViT-B-16.pt": f"{OPENAI}5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f/ViT-B-16.pt",
        "ViT-B-32.pt": f"{OPENAI}40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
        "ViT-L-14.pt": f"{OPENAI}b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt",
    },
    licence="MIT",
    supervised=None,
    input="16 frames of 224 x 224 (336 for large_336), centres of equal segments, bicubic, CLIP's mean and deviation;"
    " the number of frames is ours",
    representation="[CLS] after ln_post, projected (512; 768 for large), mean over frames, not normalised;"
    f" variants ending in {SUFFIX}: before the projection (768; 1024)",
    published=(("table4", "CLIP"), ("table5", "CLIP")),
    reference="Radford et al., ICML 2021",
    tensor_names=("visual.class_embedding", "visual.proj", "visual.transformer.resblocks.0.attn.in_proj_weight"),
)
OTHER_PARTS = (  # the text encoder and the numbers that OpenAI's archives carry beside it
    *("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale"),
    *("input_resolution", "context_length", "vocab_size"),
)
RENAMED = (
    ("visual.transformer.resblocks.", "vit.blocks."),
    ("visual.conv1.", "vit.patch_embed.proj."),
    ("visual.class_embedding", "vit.cls_token"),
    ("visual.positional_embedding", "vit.pos_embed"),
    ("visual.ln_pre.", "vit.norm_pre."),
    ("visual.ln_post.", "vit.norm."),
    ("visual.proj", "head.weight"),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def recognises(layout: Layout) -> bool:
    """Whether these are the tensors of a CLIP whose image encoder is a vision transformer, as OpenAI names them."""
    return layout.has("visual.class_embedding", "visual.conv1.weight", "visual.positional_embedding")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The image encoder with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    if checkpoint is not None and not any(name.endswith("input_resolution") for name in checkpoint.tensors):
        logger.warning("%s does not say that it is OpenAI's own: quick GELU is assumed", checkpoint.path)
    projected = variant not in UNPROJECTED
    return FileFamily(
        name="clip",
        sizes=PROJECTED if projected else UNPROJECTED,
        tell=partial(_size, projected),
        build=build,
        convert=converted,
        unused=lambda name: name.startswith(OTHER_PARTS) or (name == "visual.proj" and not projected),
        clip_spec=_clip_spec,
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def build(size: CLIPSize) -> FrameAverage:
    """timm's network of that size, with the projection or without."""
    vit = VisionTransformer(
        img_size=size.grid * size.patch_size,
        patch_size=size.patch_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer="quick_gelu",
        num_classes=0,
        dynamic_img_size=True,
    )
    head = nn.Linear(size.width, size.projection, bias=False) if size.projected else None
    return FrameAverage(ImageNetwork(vit, head))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors named as OpenAI names them, as `build`'s network has them."""
    ours = renamed(tensors, lambda name: f"image.{replaced(name, RENAMED)}")
    if (head := ours.get("image.head.weight")) is not None and head.ndim == 2:
        ours["image.head.weight"] = head.mT  # [D, projection] in the file
    for name in ("image.vit.cls_token", "image.vit.pos_embed"):
        if (table := ours.get(name)) is not None:
            ours[name] = table.reshape(1, -1, table.shape[-1] if table.ndim else 1)
    return ours


def _size(projected: bool, teller: SizeTeller) -> CLIPSize:
    places = teller.shape("visual.positional_embedding", 2)[0] - 1  # [CLS] has one, too
    return CLIPSize(
        width=teller.width("visual.ln_post.weight"),
        depth=teller.depth("visual.transformer.resblocks."),
        patch_size=teller.shape("visual.conv1.weight", 4)[-1],
        grid=teller.grid(places, "visual.positional_embedding"),
        hidden=teller.hidden("visual.transformer.resblocks.", ".mlp.c_fc.bias"),
        projection=teller.shape("visual.proj", 2)[1],
        projected=projected,
    )


def _clip_spec(size: CLIPSize) -> ClipSpec:
    crop = size.grid * size.patch_size
    return ClipSpec(short_side=crop, crop=crop, interpolation="bicubic", mean=MEAN, std=STD)
