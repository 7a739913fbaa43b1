"""timm's plain vision transformer over frames, [CLS] after the final norm, in files: what MoCo v3 and MAE share."""

from collections.abc import Mapping

from torch import Tensor

from tvts_bench.backbones._builder import square_clip
from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.models.frame_average import FrameAverage, ImageConfig, ImageNetwork, timm_vit
from tvts_bench.video.spec import ClipSpec

TYPICAL = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.bias", "norm.weight")


def is_plain(signature: CheckpointSignature) -> bool:
    """Whether the tensors are those of an image transformer with [CLS] and nothing that others have."""
    return (
        signature.has(*TYPICAL)
        and len(signature.shapes["patch_embed.proj.weight"]) == 4
        and not signature.has("blocks.0.ls1.gamma")
        and not signature.has("temporal_embed")
        and not signature.has("time_embed")
        and not signature.starts("blocks.0.timeattn.", "blocks.0.temporal_attn.", "blocks.0.crossattn.")
    )


def infer_config(sizes: Mapping[str, ImageConfig], reader: ConfigReader) -> ImageConfig:
    """The shape of the transformer whose tensors these are; its heads are those of the one of `sizes` of its width."""
    fields = reader.vit(sizes)
    return ImageConfig(**fields, image_size=fields["patch_size"] * reader.grid("pos_embed"))


def build(config: ImageConfig) -> FrameAverage:
    """The network of that shape, timm's, randomly initialised."""
    return FrameAverage(ImageNetwork(timm_vit(config)))


def library_names(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """`tensors` by the network's names; where some have `prefix`, one without it stays unknown."""
    return {f"image.vit.{n.removeprefix(prefix)}" if n.startswith(prefix) else n: t for n, t in tensors.items()}


def clip_spec(config: ImageConfig) -> ClipSpec:
    """16 frames spread over the video; the short side is 256/224 of the crop, as for ImageNet."""
    return square_clip(config, short_side=config.image_size * 256 // 224)
