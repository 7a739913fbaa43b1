"""SigLIP 2's image encoder over frames, from the files of its models on the Hugging Face Hub (SigLIP's fit, too).

Attention pooling with one learnt query, and GELU by its tanh approximation, as big_vision computes it; timm's network
of this name computes GELU exactly.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from tvts_bench.backbones import CheckpointSignature, ConfigReader, Family, ModelCard, square_clip
from tvts_bench.backbones._conversion.folder import FolderConfig
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.state_dict import fused
from tvts_bench.models.video_network import FrameAverage, ImageConfig, image_vit

_LARGE = ImageConfig(width=1024, depth=24, num_heads=16, mlp_dim=4096)
SIZES = {
    "base": ImageConfig(),
    "base_256": ImageConfig(image_size=256),
    "base_384": ImageConfig(image_size=384),
    "base_512": ImageConfig(image_size=512),
    "large_256": replace(_LARGE, image_size=256),
    "large_384": replace(_LARGE, image_size=384),
    "so400m": ImageConfig(width=1152, depth=27, num_heads=16, mlp_dim=4304, patch_size=14),
    "tiny": ImageConfig(width=128, depth=2, num_heads=2, mlp_dim=512, patch_size=8, image_size=32),
}
GIANT = {"giant": ImageConfig(width=1536, num_heads=16)}  # has no name here; its heads are wider than 64, too
HALF = (0.5, 0.5, 0.5)
CARD = ModelCard(
    title="SigLIP 2",
    what="ViT trained to match images with their texts by a sigmoid loss, with captioning and self-distillation; each"
    " frame on its own, averaged",
    weights={
        "base": "https://huggingface.co/google/siglip2-base-patch16-224 (model.safetensors)",
        "large_256": "https://huggingface.co/google/siglip2-large-patch16-256 (model.safetensors)",
    },
    licence="Apache-2.0",
    supervised=None,
    input="16 frames of 224 x 224 (the size of the file), centres of equal segments, aspect ratio squashed, mean and"
    " deviation 0.5; the number of frames is ours",
    representation="the attention-pooled vector (768; 1024 for large), mean over frames, not normalised",
    published=(),
    reference="Tschannen et al., 2025",
    tensor_names=("head.probe", "head.attention.in_proj_weight", "encoder.layers.0.self_attn.q_proj.weight"),
)
VISION = "vision_model."
QKV = (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj.")
RENAMED = (
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("encoder.layers.", "blocks."),
    ("post_layernorm.", "norm."),
    ("head.probe", "attn_pool.latent"),
    ("head.attention.out_proj.", "attn_pool.proj."),
    ("head.layernorm.", "attn_pool.norm."),
    ("head.mlp.", "attn_pool.mlp."),
    (".self_attn.out_proj.", ".attn.proj."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are the tensors of a SigLIP: an image encoder that ends in a learnt query."""
    vision = signature.under(VISION)
    return vision.has("head.probe", "embeddings.position_embedding.weight", "post_layernorm.weight")


def infer_config(reader: ConfigReader) -> ImageConfig:
    """The shape of an image encoder."""
    shape = reader.vit(
        SIZES | GIANT,
        norm="post_layernorm.weight",
        blocks="encoder.layers.",
        patches="embeddings.patch_embedding.weight",
        positions="embeddings.position_embedding.weight",
        dimensions=2,
        prefix_tokens=0,
    )
    return ImageConfig(**shape)


def from_folder(checkpoint: Checkpoint, config: ImageConfig) -> tuple[FolderConfig, ImageConfig] | None:
    """The description beside the weights, in a folder of the transformers library, and its number of heads.

    Raises:
        CheckpointError: it describes another network than the tensors are of.
    """
    content = checkpoint.config or {}
    if not str(content.get("model_type", "")).startswith("siglip"):
        return None
    inner = content.get("vision_config")
    folder = FolderConfig(checkpoint, inner if isinstance(inner, Mapping) else content)
    for key, plain in (("hidden_act", "gelu_pytorch_tanh"), ("layer_norm_eps", 1e-6)):
        folder.require((key,), plain, "the only one here; --backbone transformers builds what is described")
    shape = {"num_hidden_layers": config.depth, "hidden_size": config.width, "intermediate_size": config.mlp_dim}
    for key, value in (shape | {"patch_size": config.patch_size, "image_size": config.image_size}).items():
        folder.require((key,), value)
    heads = folder.get(("num_attention_heads",), config.num_heads)
    if config.width % heads:
        raise CheckpointError(f"{folder.path} has {heads} heads, of which {config.width} is no multiple")
    return folder, replace(config, num_heads=heads)


def build(config: ImageConfig) -> FrameAverage:
    """The network of that shape, timm's, with the GELU that the weights were trained with."""
    return image_vit(config, class_token=False, global_pool="map", act_layer="gelu_tanh")


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors named as in the Hub's files, as timm's network has them: query, key and value in one matrix a block.

    In the pooling it is the other way round: there the file has one matrix, and timm the query apart.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "pos_embed":
            ours[name] = tensor[None]
        elif match := re.fullmatch(r"head\.attention\.in_proj_(weight|bias)", name):
            width = len(tensor) // 3
            ours[f"attn_pool.q.{match[1]}"], ours[f"attn_pool.kv.{match[1]}"] = tensor[:width], tensor[width:]
        else:
            ours[name] = tensor
    return fused(ours, QKV, ".attn.qkv.")


FAMILY = Family(
    name="siglip2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=build,
    names=RENAMED,
    convert=converted,
    inside="image.vit.",
    clip_spec=partial(square_clip, resize="squash", mean=HALF, std=HALF),
    prefix=VISION,
    beside=("text_model.", "logit_scale", "logit_bias"),
    ignore="$.",
    from_folder=from_folder,
    identity=lambda config: config.num_heads,
)
