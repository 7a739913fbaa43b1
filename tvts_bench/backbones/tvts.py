"""TVTS's video encoder: [CLS] after the final norm, not projected, as the paper evaluates it everywhere.

Sizes: `base` is the paper's; `small`, `tiny`, `mini` and `micro` (but for the first of 32 x 32 pixels, for the embedded
world) are ours. Weights: official training checkpoints, our own files, plain state dicts, and two networks that are
shipped (`shipped/`, with a card). A size without a file is randomly initialised: a control.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tvts_bench.backbones.base import Backbone, BackboneError, WeightSource
from tvts_bench.backbones.cards import FamilyCard
from tvts_bench.backbones.layout import Layout
from tvts_bench.backbones.recognition import description
from tvts_bench.backbones.seeded import unfilled
from tvts_bench.models.checkpoint import (
    Checkpoint,
    CheckpointMismatchError,
    LoadReport,
    load_strictly,
    read_checkpoint,
    without_prefixes,
)
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
"""Trained on the embedded world's narrated video: TVTS, and the same run without sorting."""
VARIANTS = (*SIZES, *SHIPPED)
ENCODER = "video_model."  # prefix of the encoder in a file that holds all of TVTS
OTHER_PARTS = ("text_model.", "txt_proj.", "vid_proj.", "pred_model.")  # the rest of TVTS, not used for features
HEAD = ("head.",)  # the classifier of a fine-tuned file


CARD = FamilyCard(
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


class TVTS(Backbone):
    """The encoder with its input specification and the record of its weights."""

    family = "tvts"

    def __init__(self, encoder: VideoTransformer, variant: str, weights: WeightSource) -> None:
        super().__init__()
        config = encoder.config
        self.encoder = encoder
        self.variant = variant
        self.embed_dim = config.embed_dim
        self.clip_spec = ClipSpec(num_frames=config.num_frames, short_side=config.image_size, crop=config.image_size)
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
        """Shorter clips use the first temporal embeddings, as the official code does.

        Raises:
            BackboneError: other pixels, an odd number of frames, or more than the network was made for.
        """
        config = self.encoder.config
        if clip.crop != config.image_size:
            raise BackboneError(
                f"backbone tvts:{self.variant} takes crops of {config.image_size} pixels, not {clip.crop}:"
                f" leave the crop at {config.image_size}"
            )
        if clip.num_frames % config.tubelet or clip.num_frames > config.num_frames:
            raise BackboneError(
                f"backbone tvts:{self.variant} takes a multiple of {config.tubelet} frames up to {config.num_frames},"
                f" not {clip.num_frames}"
            )
        if clip.num_frames >= config.num_frames:
            return ()
        used, there = clip.num_frames // config.tubelet, config.num_frames // config.tubelet
        return (f"clips of {clip.num_frames} frames use the first {used} of {there} temporal embeddings",)


def recognises(layout: Layout) -> bool:
    """Whether these are TVTS's tensors: factorised positions and joint (not divided) attention."""
    encoder = layout.under(ENCODER) if layout.starts(ENCODER) else layout
    return encoder.has("temporal_embed") and not any(".timeattn." in name for name in encoder.shapes)


def load(checkpoint: Checkpoint | None, variant: str | None, seed: int) -> TVTS:
    """The encoder with a file's weights, or randomly initialised from `seed` (`base` unless another size is named).

    Raises:
        CheckpointError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    if variant in SHIPPED:
        if checkpoint is not None:
            raise CheckpointMismatchError(
                f"tvts:{variant} is a shipped file; to load {checkpoint.path} name a size, or none"
            )
        carried = load(read_checkpoint(shipped(variant)), None, seed)
        carried.variant = variant  # tables and file names tell the two apart by it
        return carried
    if checkpoint is None:
        return _random(variant or VARIANTS[0], seed)
    tensors, unused, official = _encoder_tensors(checkpoint)
    names = _names(SIZES["base"])
    fitting = sum(name in names for name in tensors)
    if 2 * fitting < len(tensors):
        count = f"only {fitting}" if fitting else "none"
        raise CheckpointMismatchError(
            f"{checkpoint.path} is not a TVTS checkpoint: {count} of its {len(tensors)} tensors "
            f"{'are' if fitting > 1 else 'is'} named as in one; {description(tensors)}"
        )
    found, config = _size(checkpoint, tensors)
    if variant not in (None, found):
        raise CheckpointMismatchError(f"{checkpoint.path} holds tvts:{found}, not the tvts:{variant} asked for")
    encoder = unfilled(partial(VideoTransformer, config), tensors, checkpoint.path)
    format_ = "official TVTS training checkpoint" if official else checkpoint.format
    report: LoadReport = load_strictly(encoder, tensors, checkpoint.path, format=format_, unused=unused)
    weights = WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)
    return TVTS(encoder, found, weights)


def shipped(variant: str) -> Path:
    """The file of a shipped variant; the card of both, README.md, lies beside them."""
    return Path(__file__).with_name("shipped") / f"{variant}.safetensors"


def _random(variant: str, seed: int) -> TVTS:
    """The control: the same network, never trained."""
    config = SIZES[variant]
    made_from = {
        "initialisation": "VideoTransformer.seeded",
        "config": config,
        "seed": seed,
        "torch": torch.__version__,
    }
    weights = WeightSource(name=f"random init (seed {seed})", sha256=digest(made_from))
    return TVTS(VideoTransformer.seeded(config, seed), variant, weights)


def _names(config: VideoTransformerConfig) -> frozenset[str]:
    """Names of the network's tensors."""
    with torch.device("meta"):
        return frozenset(VideoTransformer(config).state_dict())


def _encoder_tensors(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], list[str], bool]:
    """The encoder's tensors by their own names, names of known other parts, and whether the official code saved them.

    Names that are neither stay among the encoder's, where strict loading refuses them.
    """
    tensors = without_prefixes(checkpoint.tensors)
    whole = any(name.startswith(ENCODER) for name in tensors)
    others = OTHER_PARTS if whole else HEAD
    unused = [name for name in tensors if name.startswith(others)]
    wanted = (name for name in tensors if not name.startswith(others))
    encoder = {name.removeprefix(ENCODER): tensors[name] for name in wanted}
    return encoder, unused, whole and checkpoint.format == "training checkpoint"


def _size(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> tuple[str, VideoTransformerConfig]:
    """Which size a file holds: as saved beside our own weights, else told from the tensors' shapes."""
    tables = [tensors[name] for name in ("cls_token", "pos_embed", "norm.weight") if name in tensors]
    dim = next((table.shape[-1] for table in tables if table.ndim), 0)
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    patches = tensors.get("patch_embed.proj.weight")
    patch = patches.shape[-1] if patches is not None and patches.ndim else 0
    found = _named(dim, depth, patch)
    saved = saved_config(checkpoint)
    if saved is not None and (saved.embed_dim, saved.depth) == (dim, depth):
        return found or f"{dim}x{depth}", saved
    if found is None:
        sizes = ", ".join(f"{name} ({size.embed_dim}, {size.depth})" for name, size in SIZES.items())
        raise CheckpointMismatchError(
            f"{checkpoint.path} holds a network of width {dim} and {depth} blocks, which is none of: {sizes}"
        )
    config = SIZES[found]
    # Longer clips only lengthen this table; an odd shape of it is left for strict loading to refuse.
    time = tensors.get("temporal_embed")
    if time is not None and time.ndim == 3 and time.shape[1] > 0:
        config = dataclasses.replace(config, num_frames=time.shape[1] * config.tubelet)
    return found, config


def _named(dim: int, depth: int, patch: int) -> str | None:
    """The size of that width, depth and, where several have these, pixels of a patch; None where there is none."""
    alike = [name for name, size in SIZES.items() if (size.embed_dim, size.depth) == (dim, depth)]
    return next((name for name in alike if SIZES[name].patch_size == patch), alike[0] if alike else None)
