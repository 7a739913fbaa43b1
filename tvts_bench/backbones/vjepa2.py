"""V-JEPA 2 (Assran et al., 2025): the target encoder of the official files, the mean of its tokens.

Joint attention with rotary positions, transformers' class. The predictor, which only pretraining needs, is left out.
"""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from tvts_bench.backbones import (
    CheckpointSignature,
    ConfigReader,
    Family,
    ModelCard,
    Tensors,
    from_transformers,
    square_clip,
)
from tvts_bench.models.video_network import (
    NetworkConfig,
    VideoNetwork,
    VideoNetworkError,
    check_clips,
    check_pixels,
)
from tvts_bench.video.spec import ClipSpec

ENCODER = "backbone."  # prefix of its names
RENAMED = (  # parts of official names -> the library's, in the order to replace them
    ("norm.", "layernorm."),  # the final one; those of blocks have numbers
    ("patch_embed.proj.", "embeddings.patch_embeddings.proj."),
    ("blocks.", "layer."),
    (".attn.proj.", ".attention.proj."),
    (".attn.qkv.", ".attention.qkv."),
)
LIBRARY = "encoder."  # where the library's network is in ours
V1_STEPS, V1_LARGEST_GRID = 8, 24  # of the position tables that V-JEPA 1 uses: 8 x G x G tokens
GIANT_384 = "giant_384"  # told from `giant` by the user alone: rotary positions leave no trace of the resolution


@dataclass(frozen=True, kw_only=True)
class VJEPA2Config(NetworkConfig):
    """The shape of the network. Neither frames nor pixels bind it: rotary positions have no table."""

    tubelet: int = 2  # frames that share a token

    def adaptations(self, frames: int, pixels: int) -> tuple[str, ...]:
        """Nothing for any clip that is taken: rotary positions follow the clip."""
        self.check(frames, pixels, pixels)
        return ()

    def check(self, frames: int, height: int, width: int) -> None:
        """Refuse what are no whole tubelets of square frames.

        Args:
            frames: of a clip.
            height: pixels.
            width: pixels.

        Raises:
            VideoNetworkError: with what it is, and the way out.
        """
        check_pixels(height, width, self.patch_size)
        if height != width:
            raise VideoNetworkError(f"V-JEPA 2 takes square frames here, got {height} x {width}")
        if frames <= 0 or frames % self.tubelet:
            raise VideoNetworkError(f"this network takes a multiple of {self.tubelet} frames, got {frames}")


class VJEPA2(VideoNetwork):
    """transformers' encoder under our contract; the embedding is the mean of its tokens."""

    BLOCKS, AFTER = f"{LIBRARY}layer.", (f"{LIBRARY}layernorm.",)

    def __init__(self, size: VJEPA2Config) -> None:
        """Randomly initialised.

        Raises:
            BackboneError: transformers is not there, or too old.
        """
        super().__init__(size.depth)
        self.size = size
        config = from_transformers("VJEPA2Config")(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.num_heads,
            mlp_ratio=(size.mlp_dim + 0.5) / size.width,  # the library rounds the product down
            crop_size=size.image_size,
            patch_size=size.patch_size,
            tubelet_size=size.tubelet,
            frames_per_clip=size.num_frames,
            layer_norm_eps=1e-6,
            pred_hidden_size=12 * 6,  # the predictor is built and dropped: as small as it goes
            pred_num_hidden_layers=1,
        )
        self.encoder = from_transformers("VJEPA2Model")(config).encoder

    def forward(self, clips: Tensor) -> Tensor:
        """The mean of all tokens after the final norm, [B, D].

        Raises:
            VideoNetworkError: clips of a shape that the network does not take.
        """
        return self.tokens(clips).mean(dim=1)

    def tokens(self, clips: Tensor) -> Tensor:
        """Tokens after the final norm, [B, T / tubelet * N, D], time-major."""
        check_clips(clips, self.size.patch_size)
        self.size.check(clips.shape[2], *clips.shape[3:])
        grid = clips.shape[3] // self.size.patch_size
        for layer in self.encoder.layer:
            layer.attention.grid_size = grid  # the library takes that of its configuration; the official code, this
        return self.encoder(pixel_values_videos=clips.transpose(1, 2)).last_hidden_state  # type: ignore[no-any-return]


def in_thirds(tensors: Tensors) -> dict[str, Tensor]:
    """`tensors` with joint projections cut in three: query, key and value."""
    ours = {}
    for name, tensor in tensors.items():
        if ".attention.qkv." in name and tensor.ndim and tensor.shape[0] % 3 == 0:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[name.replace(".qkv.", f".{part}.")] = third
        else:
            ours[name] = tensor
    return ours


LARGE = VJEPA2Config(width=1024, depth=24, num_heads=16, mlp_dim=4096, image_size=256)
GIANT = replace(LARGE, width=1408, depth=40, num_heads=22, mlp_dim=6144)
SIZES = {
    "large": LARGE,
    "huge": replace(LARGE, width=1280, depth=32, num_heads=16, mlp_dim=5120),
    "giant": GIANT,
    "tiny": VJEPA2Config(width=128, depth=2, num_heads=2, mlp_dim=512, image_size=32, patch_size=8),
    GIANT_384: replace(GIANT, image_size=384),
}
URL = "https://dl.fbaipublicfiles.com/vjepa2/"
CARD = ModelCard(
    title="V-JEPA 2",
    what="ViT with joint space-time attention and rotary positions, trained to predict its own averaged features of"
    " masked regions",
    weights={name: f"{URL}{name}" for name in ("vitl.pt", "vith.pt", "vitg.pt", "vitg-384.pt")},
    licence="MIT, parts Apache-2.0",
    supervised=None,
    input="16 frames with stride 4, short side 292, crop 256 (giant_384: 438 and 384), ImageNet mean and deviation",
    representation="mean of all tokens after the final norm, 1024 (huge 1280, giant 1408); its authors evaluate with an"
    " attentive probe on the tokens",
    published=(),
    reference="Assran et al., arXiv 2506.09985",
    tensor_names=("backbone.patch_embed.proj.weight", "backbone.blocks.0.attn.qkv.bias", "backbone.norm.weight"),
)


def matches(signature: CheckpointSignature) -> bool:
    """Whether these are V-JEPA 2's tensors: V-JEPA's, without a table of positions or with one that is too long."""
    encoder = signature.encoder(ENCODER)
    if not encoder.has("patch_embed.proj.weight", "blocks.0.attn.qkv.bias", "norm.weight"):
        return False
    if encoder.has("cls_token") or encoder.starts("head.", "fc_norm.") or encoder.has("temporal_embed"):
        return False
    if len(encoder.shapes["patch_embed.proj.weight"]) != 5:
        return False
    table = encoder.shapes.get("pos_embed")
    if table is None:
        return True
    side = math.isqrt(table[1] // V1_STEPS) if len(table) == 3 else 0
    return side > V1_LARGEST_GRID


def infer_config(reader: ConfigReader) -> VJEPA2Config:
    """The shape of an encoder; its pixels are those of the size that it is."""
    fields, tubelet = reader.vit(SIZES, positions=None), reader.shape("patch_embed.proj.weight", 5)[2]
    shape = fields["width"], fields["patch_size"]
    known = next((size.image_size for size in SIZES.values() if (size.width, size.patch_size) == shape), 16 * shape[1])
    pixels = 384 if reader.variant == GIANT_384 else known
    return VJEPA2Config(**fields, image_size=pixels, tubelet=tubelet)


def clip_spec(config: VJEPA2Config) -> ClipSpec:
    """Frames in a row with stride 4; the short side is 256/224 of the crop, but for toys."""
    short = config.image_size * 256 // 224 if config.image_size >= 224 else config.image_size
    return square_clip(config, sampling="dense", stride=4, short_side=short)


FAMILY = Family(
    name="vjepa2",
    card=CARD,
    sizes=SIZES,
    matches=matches,
    infer_config=infer_config,
    build=VJEPA2,
    names=RENAMED,
    convert=in_thirds,
    inside=LIBRARY,
    clip_spec=clip_spec,
    prefix=ENCODER,
    ignore="pos_embed$",  # an unused table of the official code
)
