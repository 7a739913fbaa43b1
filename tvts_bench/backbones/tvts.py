"""TVTS's video encoder: [CLS] after the final norm, not projected, as the paper evaluates it everywhere.

Sizes: `base` is the paper's; `small`, `tiny`, `mini` and `micro` (the last three of 32 x 32 pixels, for the built-in
synthetic set) are ours. Weights: official training checkpoints, our own files, plain state dicts, and two networks that
are shipped (`shipped/`, with a card). A size without a file is the random-weights baseline.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tvts_bench.backbones import (
    Backbone,
    CheckpointSignature,
    ConfigReader,
    Family,
    ModelCard,
    WeightSource,
    square_clip,
)
from tvts_bench.backbones._builder import adaptations
from tvts_bench.backbones.detect import describe
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.saving import saved_config
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig
from tvts_bench.provenance import digest
from tvts_bench.video.spec import ClipSpec

SIZES = {
    "base": VideoTransformerConfig(),
    "small": VideoTransformerConfig(embed_dim=384, num_heads=6),
    "tiny": VideoTransformerConfig(embed_dim=128, depth=4, num_heads=4, image_size=32, patch_size=8),
    "mini": VideoTransformerConfig(embed_dim=128, depth=4, num_heads=4, image_size=32, patch_size=16),
    "micro": VideoTransformerConfig(
        embed_dim=96, depth=3, num_heads=3, image_size=32, patch_size=16, num_frames=8
    ),  # what grids train
}
SHIPPED = ("scripted_motion_tiny", "scripted_motion_tiny_l_base")
"""Trained on the built-in synthetic set's narrated video: TVTS, and the same run without sorting."""
ENCODER = "video_model."  # prefix of the encoder in a file that holds all of TVTS
OTHER_PARTS = ("text_model.", "txt_proj.", "vid_proj.", "pred_model.")  # the rest of TVTS, not used for features
CARD = ModelCard(
    title="TVTS",
    what="ViT with joint space-time attention, trained to sort the transcripts of narrated videos and to align them",
    weights={
        "TVTS_yt_pt.pth (YT-Temporal)": "https://drive.google.com/file/d/1JthEHg1ETHp5phHzjuhR1H8SfBlousYD",
        "YT-Temporal, then CC3M + WebVid-2M": "https://drive.google.com/file/d/19WOHhJZfDtqLvzK_g_Kwr6om1hoMowMe",
    },
    licence="none stated for the weights; research use at your own risk",
    supervised=None,
    input="16 frames of 224 x 224, one from each of 16 equal segments, ImageNet mean and deviation",
    representation="[CLS] after the final norm, 768, not projected",
    published=(("table4", "TVTS"), ("table5", "TVTS"), ("table5", "TVTS (joint)"), ("table7", "TVTS")),
    reference="Zeng et al., CVPR 2023",
)


class TVTSBackbone(Backbone):
    """The encoder with its input specification and the record of its weights."""

    family = "tvts"

    def __init__(self, encoder: VideoTransformer, variant: str, weights: WeightSource) -> None:
        """Holds the encoder under the contract."""
        super().__init__()
        config = encoder.config
        self.encoder = encoder
        self.variant = variant
        self.embed_dim = config.embed_dim
        self.clip_spec = square_clip(config)
        self.weights = weights

    def forward(self, clips: Tensor) -> Tensor:
        """[CLS] after the final norm, [B, D], of clips [B, 3, T, H, W]."""
        return self.encoder.embed(clips)

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens after the final norm, [B, N, D], time-major."""
        return self.encoder(clips)[:, 1:]  # type: ignore[no-any-return]

    def layer_of(self, name: str) -> int:
        """0 for tokens, positions and patches, i + 1 for block i, depth + 1 for the final norm."""
        return self.encoder.layer_of(name.removeprefix("encoder."))

    def adaptations(self, clip: ClipSpec) -> tuple[str, ...]:
        """Shorter clips use the first temporal embeddings, as the official code does."""
        return adaptations(self.encoder.config, f"tvts:{self.variant}", clip)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are TVTS's tensors: factorised positions and joint (not divided) attention."""
    encoder = signature.encoder(ENCODER)
    return encoder.has("temporal_embed") and not any(".timeattn." in name for name in encoder.shapes)


def shipped(variant: str) -> Path:
    """The file of a shipped variant; the card of both, README.md, lies beside them."""
    return Path(__file__).with_name("shipped") / f"{variant}.safetensors"


def infer_config(reader: ConfigReader) -> VideoTransformerConfig:
    """Which size a file holds: as saved beside our own weights, else told from the tensors' shapes.

    Raises:
        CheckpointError: no TVTS, or none of the sizes.
    """
    tensors = reader.tensors
    with torch.device("meta"):
        names = VideoTransformer(SIZES["base"]).state_dict().keys()
    fitting = sum(name in names for name in tensors)
    if 2 * fitting < len(tensors):
        count = f"only {fitting}" if fitting else "none"
        raise CheckpointError(
            f"{reader.source} is not a TVTS checkpoint: {count} of its {len(tensors)} tensors "
            f"{'are' if fitting > 1 else 'is'} named as in one; {describe(tensors)}"
        )
    tables = [tensors[name] for name in ("cls_token", "pos_embed", "norm.weight") if name in tensors]
    width = next((table.shape[-1] for table in tables if table.ndim), 0)
    depth = reader.depth("blocks.")
    patches = tensors.get("patch_embed.proj.weight")
    patch = patches.shape[-1] if patches is not None and patches.ndim else 0
    saved = saved_config(reader.checkpoint)
    if saved is not None and (saved.embed_dim, saved.depth) == (width, depth):
        return saved
    name = _closest(SIZES, width, depth, patch)
    if name is None:
        sizes = ", ".join(f"{name} ({size.embed_dim}, {size.depth})" for name, size in SIZES.items())
        raise CheckpointError(
            f"{reader.source} holds a network of width {width} and {depth} blocks, which is none of: {sizes}"
        )
    # Longer clips only lengthen this table; an odd shape of it is left for strict loading to refuse.
    time = tensors.get("temporal_embed")
    if time is not None and time.ndim == 3 and time.shape[1] > 0:
        return replace(SIZES[name], num_frames=time.shape[1] * SIZES[name].tubelet)
    return SIZES[name]


def _closest(sizes: Mapping[str, VideoTransformerConfig], width: int, depth: int, patch: int) -> str | None:
    """The size of that width, depth and, where several have these, pixels of a patch; None where there is none."""
    close = [name for name, size in sizes.items() if (size.embed_dim, size.depth) == (width, depth)]
    return next((name for name in close if sizes[name].patch_size == patch), next(iter(close), None))


def random(config: VideoTransformerConfig, seed: int) -> tuple[nn.Module, WeightSource]:
    """The random-weights baseline: the same network, never trained."""
    made_from = {
        "initialisation": "VideoTransformer.seeded",
        "config": config,
        "seed": seed,
        "torch": torch.__version__,
    }
    weights = WeightSource(name=f"random init (seed {seed})", sha256=digest(made_from))
    return VideoTransformer.seeded(config, seed), weights


def file_format(checkpoint: Checkpoint) -> str:
    """What kind of file it is, and whether the official code saved it."""
    official = checkpoint.format == "training checkpoint" and any(ENCODER in name for name in checkpoint.tensors)
    return "official TVTS training checkpoint" if official else checkpoint.format


FAMILY = Family(
    name="tvts",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=VideoTransformer,
    prefix=ENCODER,
    beside=OTHER_PARTS,
    variant_of=lambda sizes, config: _closest(sizes, config.embed_dim, config.depth, config.patch_size),
    shipped={variant: shipped(variant) for variant in SHIPPED},
    format=file_format,
    random=random,
    wrap=TVTSBackbone,
)
