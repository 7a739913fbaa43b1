"""SigLIP 2's image encoder over frames, from the files of its models on the Hugging Face Hub (SigLIP's fit, too).

Attention pooling with one learnt query, and GELU by its tanh approximation, as big_vision computes it; timm's network
of this name computes GELU exactly.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.file_family import FileFamily, SizeTeller
from tvts_bench.backbones.folder_config import FolderConfig, built_as_described
from tvts_bench.backbones.image_vit import ImageSize, adaptations
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, without_prefixes
from tvts_bench.models.frame_average import FrameAverage, ImageNetwork
from tvts_bench.models.renaming import renamed, replaced
from tvts_bench.video.spec import ClipSpec

from timm.models.vision_transformer import VisionTransformer  # isort: skip


@dataclass(frozen=True, kw_only=True)
class SigLIPSize(ImageSize):
    """The shape of an image encoder of SigLIP; the defaults are ViT-B/16 at 224."""

    described_heads: int | None = field(default=None, compare=False)  # as a config.json has them

    @property
    def heads(self) -> int:
        """Attention heads: 16 in the two sizes whose heads are wider than 64."""
        if self.described_heads:
            return self.described_heads
        return 16 if self.width in (1152, 1536) else super().heads


SIZES = {
    "base": SigLIPSize(),
    "base_256": SigLIPSize(grid=16),
    "base_384": SigLIPSize(grid=24),
    "base_512": SigLIPSize(grid=32),
    "large_256": SigLIPSize(width=1024, depth=24, grid=16, hidden=4096),
    "large_384": SigLIPSize(width=1024, depth=24, grid=24, hidden=4096),
    "so400m": SigLIPSize(width=1152, depth=27, patch_size=14, grid=16, hidden=4304),
    "tiny": SigLIPSize(width=128, depth=2, patch_size=8, grid=4, hidden=512),
}
VARIANTS = tuple(SIZES)
HALF = (0.5, 0.5, 0.5)
CARD = FamilyCard(
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
OTHER_PARTS = ("text_model.", "logit_scale", "logit_bias")
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


def recognises(layout: Layout) -> bool:
    """Whether these are the tensors of a SigLIP: an image encoder that ends in a learnt query."""
    vision = layout.under(VISION)
    return vision.has("head.probe", "embeddings.position_embedding.weight", "post_layernorm.weight")


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> Backbone:
    """The image encoder with a file's weights, or randomly initialised from `seed` (`base` unless another is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    described = None if checkpoint is None else _described(checkpoint)
    if checkpoint is not None and described is not None:
        assumed = _size(SizeTeller(without_prefixes(checkpoint.tensors), checkpoint.path))
        checkpoint = built_as_described(checkpoint, _stated(described, assumed).heads, assumed.heads)
    return FileFamily(
        name="siglip2",
        sizes=SIZES,
        tell=lambda teller: _stated(described, _size(teller)),
        build=build,
        convert=converted,
        unused=lambda name: name.startswith(OTHER_PARTS),
        clip_spec=lambda size: _clip_spec(size) if described is None else described.clip_spec(_clip_spec(size)),
        adaptations=adaptations,
    ).load(checkpoint, variant, seed)


def _described(checkpoint: Checkpoint) -> FolderConfig | None:
    """The description of the image encoder beside the weights, in a folder of the transformers library."""
    content = checkpoint.config or {}
    if not str(content.get("model_type", "")).startswith("siglip"):
        return None
    inner = content.get("vision_config")
    folder = FolderConfig(checkpoint, inner if isinstance(inner, Mapping) else content)
    for key, plain in (("hidden_act", "gelu_pytorch_tanh"), ("layer_norm_eps", 1e-6)):
        folder.require((key,), plain, "the only one here; --backbone transformers builds what is described")
    return folder


def _stated(described: FolderConfig | None, size: SigLIPSize) -> SigLIPSize:
    """`size` with the heads that the folder says, where it says what fits the tensors.

    Raises:
        CheckpointMismatchError: it says something else of them.
    """
    if described is None:
        return size
    described.require(("num_hidden_layers",), size.depth)
    described.require(("hidden_size",), size.width)
    described.require(("intermediate_size",), size.hidden)
    described.require(("patch_size",), size.patch_size)
    described.require(("image_size",), size.grid * size.patch_size)
    heads = described.get(("num_attention_heads",), size.heads)
    if size.width % heads:
        raise CheckpointMismatchError(f"{described.path} has {heads} heads, of which {size.width} is no multiple")
    return replace(size, described_heads=heads)


def build(size: SigLIPSize) -> FrameAverage:
    """timm's network of that size, with the GELU that the weights were trained with."""
    vit = VisionTransformer(
        img_size=size.grid * size.patch_size,
        patch_size=size.patch_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        class_token=False,
        global_pool="map",
        act_layer="gelu_tanh",
        num_classes=0,
        dynamic_img_size=True,
    )
    return FrameAverage(ImageNetwork(vit))


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors named as in the Hub's files, as timm's network has them: query, key and value in one matrix a block.

    In the pooling it is the other way round: there the file has one matrix, and timm the query apart.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in renamed(tensors, lambda name: replaced(name.removeprefix(VISION), RENAMED)).items():
        if name == "pos_embed":
            ours[name] = tensor[None]
        elif found := re.fullmatch(r"head\.attention\.in_proj_(weight|bias)", name):
            width = len(tensor) // 3
            ours[f"attn_pool.q.{found[1]}"], ours[f"attn_pool.kv.{found[1]}"] = tensor[:width], tensor[width:]
        else:
            ours[name] = tensor
    return {f"image.vit.{name}": tensor for name, tensor in _fused(ours).items()}


def _fused(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A block's three projections as one, where all are there and alike; else strict loading says what is not."""
    fused = dict(tensors)
    for name in tensors:
        if found := re.fullmatch(r"(blocks\.\d+)\.self_attn\.q_proj\.(weight|bias)", name):
            block, kind = found.groups()
            names = [f"{block}.self_attn.{part}_proj.{kind}" for part in "qkv"]
            parts = [tensors[each] for each in names if each in tensors]
            if len(parts) == 3 and len({part.shape for part in parts}) == 1:
                fused[f"{block}.attn.qkv.{kind}"] = torch.cat(parts)
                for each in names:
                    del fused[each]
    return fused


def _size(teller: SizeTeller) -> SigLIPSize:
    places = teller.shape(f"{VISION}embeddings.position_embedding.weight", 2)[0]
    return SigLIPSize(
        width=teller.width(f"{VISION}post_layernorm.weight"),
        depth=teller.depth(f"{VISION}encoder.layers."),
        patch_size=teller.shape(f"{VISION}embeddings.patch_embedding.weight", 4)[-1],
        grid=teller.grid(places, f"{VISION}embeddings.position_embedding.weight"),
        hidden=teller.hidden(f"{VISION}encoder.layers.", ".mlp.fc1.bias"),
    )


def _clip_spec(size: SigLIPSize) -> ClipSpec:
    crop = size.grid * size.patch_size
    return ClipSpec(short_side=crop, crop=crop, resize="squash", mean=HALF, std=HALF)
