"""CLIP's image encoder over frames, from OpenAI's files: pre-norm, quick GELU, projected into the space of texts.

`<size>` gives the projected embedding (what is compared with texts), `<size>_ln_post` the wider one before it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.backbones._conversion.frozen import CLIP_MEAN, CLIP_PARTS, CLIP_STD, clip_vit, from_clip_names
from tvts_bench.models.video_network import FrameAverage, ImageConfig, ImageNetwork, timm_vit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(ImageConfig):
    """The shape of an image encoder of CLIP."""

    projection: int = 512  # width of the space shared with texts
    projected: bool = True

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return self.projection if self.projected else self.width


_LARGE = CLIPConfig(width=1024, depth=24, num_heads=16, mlp_dim=4096, patch_size=14, projection=768)
PROJECTED = {
    "base": CLIPConfig(),
    "base_patch32": CLIPConfig(patch_size=32),
    "large": _LARGE,
    "large_336": replace(_LARGE, image_size=336),
    "tiny": CLIPConfig(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32, projection=64),
}
SUFFIX = "_ln_post"  # of the variants without the projection
SIZES = PROJECTED | {name + SUFFIX: replace(size, projected=False) for name, size in PROJECTED.items()}
OPENAI = "https://openaipublic.azureedge.net/clip/models/"
CARD = ModelCard(
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are the tensors of a CLIP whose image encoder is a vision transformer, as OpenAI names them."""
    return signature.has("visual.class_embedding", "visual.conv1.weight", "visual.positional_embedding")


def infer_config(reader: ConfigReader) -> CLIPConfig:
    """The shape of an image encoder; without the projection where the variant is named so."""
    if not any(name.endswith("input_resolution") for name in reader.checkpoint.tensors):
        logger.warning("%s does not say that it is OpenAI's own: quick GELU is assumed", reader.source)
    return CLIPConfig(
        **clip_vit(SIZES, reader),
        projection=reader.shape("proj", 2)[1],
        projected=not (reader.variant or "").endswith(SUFFIX),
    )


def build(config: CLIPConfig) -> FrameAverage:
    """The network of that shape, timm's, with the projection or without."""
    vit = timm_vit(config, pre_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-5), act_layer="quick_gelu")
    head = nn.Linear(config.width, config.projection, bias=False) if config.projected else None
    return FrameAverage(ImageNetwork(vit, head))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors named as OpenAI names them, as `build`'s network has them."""
    ours = {f"image.vit.{name}": tensor for name, tensor in from_clip_names(tensors).items()}
    if (projection := ours.pop("image.vit.proj", None)) is not None:
        ours["image.head.weight"] = projection.mT if projection.ndim == 2 else projection  # [D, projection] in the file
    return ours


FAMILY = Family(
    name="clip",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=build,
    convert=converted,
    clip_spec=partial(square_clip, interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD),
    prefix="visual.",
    beside=CLIP_PARTS,
    ignore=lambda config: r"(?!)" if config.projected else "proj$",
)
