"""Files of the joint space-time ViT, most with VideoMAE's tensor names: VideoMAE, VideoMAE v2, UMT; and V-JEPA.

As their authors or the transformers library save them, pretrained (an encoder with a norm of tokens, a decoder) or
fine-tuned (a norm of their mean, a head).

Queries and values have biases of their own (`q_bias`, `v_bias`; keys have none), here one vector with zeros between.

What a pretrained file represents is not settled: the official fine-tuning code drops the encoder's norm and puts a
fresh one behind the mean, so by default the embedding is the mean of tokens, normalised without weights. Sizes called
"...-token-norm" are the mean of the encoder's own output.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tvts_bench.backbones._builder import Family
from tvts_bench.backbones._conversion.folder import FolderConfig
from tvts_bench.backbones._conversion.reader import HEAD_WIDTH, ConfigReader
from tvts_bench.backbones.detect import CheckpointSignature, describe
from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.joint_vit import JointViT, JointViTConfig
from tvts_bench.models.state_dict import WRAPPERS, fused, listed, renamed, replaced
from tvts_bench.models.video_network import VideoNetworkError

logger = logging.getLogger(__name__)

Sizes = Mapping[str, JointViTConfig]
PATCHES = "patch_embed.proj.weight"  # [D, 3, frames, rows, columns]
TABLE = "pos_embed"  # [1, N, D]
TOKEN_NORM = "-token-norm"
OUTER = ("model.",)  # prefix that the authors' class on the Hugging Face hub puts before all names
V2_CLASSES = 710  # of Kinetics-710, with which only VideoMAE v2's tubes of two frames were trained
V2_WIDTH = 1408  # of its giant
OTHER_PARTS = ("head.", "classifier.", "decoder.", "encoder_to_decoder.", "mask_token", "clip_decoder.")
LIBRARY_FILE = re.compile(r"(?:(?:module|_orig_mod|model)\.)*(?:videomae\.)?embeddings\.patch_embeddings\.")
OUTER_NORM = re.compile(r"^(?:encoder\.norm|(?:videomae\.)?layernorm)\.")  # of a pretrained encoder
FINE_TUNED_FILE = re.compile(r"(?:(?:module|_orig_mod|model|encoder|videomae)\.)*fc_norm\.")
PROJECTIONS = tuple(f".attn.{part}.weight" for part in ("query", "key", "value"))  # in files of the library
TRANSFORMERS_NAMES = (  # parts of the library's names and the official ones, in the order of replacing
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("encoder.layer.", "blocks."),
    ("attention.attention.query.bias", "attn.q_bias"),
    ("attention.attention.value.bias", "attn.v_bias"),
    ("attention.attention.", "attn."),
    ("attention.output.dense.", "attn.proj."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("layernorm.", "norm."),
)


def masked_family(*, name: str, sizes: Sizes, **fields: Any) -> Family[JointViTConfig]:
    """A family whose files have VideoMAE's names.

    Args:
        name: the plug-in's.
        sizes: with a name, whose norm has no weights until a fine-tuned file brings them; each is there with the
            encoder's own norm, too.
        fields: others of `Family`.
    """
    plain = {size: replace(config, affine_norm=False) for size, config in sizes.items()}
    normed = {f"{size}{TOKEN_NORM}": replace(config, pooling="mean_of_norm") for size, config in sizes.items()}
    return joint_family(
        name=name,
        sizes=plain | normed,
        matches=lambda signature: name in possible_families(signature),
        infer_config=partial(_infer_config, plain, normed),
        convert=_converted,
        wrappers=(*WRAPPERS, *OUTER),
        ignore=_ignored,
        ignored_as=partial(OUTER_NORM.sub, "norm."),
        format=_format,
        notes=_suspicions,
        from_folder=_described,
        identity=lambda config: replace(config, affine_norm=config.pooling == "mean_of_norm"),
        **fields,
    )


def joint_family(*, sizes: Sizes, **fields: Any) -> Family[JointViTConfig]:
    """A family whose network is `JointViT`.

    Args:
        sizes: with a name, the default first.
        fields: others of `Family`.
    """
    return Family(sizes=sizes, build=JointViT, variant_of=named_like, **fields)


def joint_config(sizes: Sizes, reader: ConfigReader) -> JointViTConfig:
    """The shape of the network whose tensors these are; what is odd is left for strict loading to refuse.

    Args:
        sizes: those with a name.
        reader: of tensors by the names of `JointViT`.

    Raises:
        CheckpointError: no block, or a width whose number of attention heads cannot be known.
    """
    tensors, depth = reader.tensors, reader.depth("blocks.")
    width = _length(tensors, "patch_embed.proj.bias") or _length(tensors, "blocks.0.norm1.weight")
    if not depth or not width:
        raise CheckpointError(f"{reader.source} holds no encoder with patches and blocks: {describe(tensors)}")
    default = next(iter(sizes.values()))
    kernel, table = tensors.get(PATCHES), tensors.get(TABLE)
    patch = kernel.shape[-1] if kernel is not None and kernel.ndim == 5 else default.patch_size
    positions = table.shape[1] if table is not None and table.ndim == 3 else None
    close = [s for s in sizes.values() if (s.embed_dim, s.depth, s.patch_size) == (width, depth, patch)]
    if close:
        return _with_table(next((size for size in close if positions == math.prod(size.grid)), close[0]), positions)
    if width % HEAD_WIDTH or not patch:
        raise CheckpointError(
            f"{reader.source} holds a network of width {width}, {depth} blocks and patches of {patch} pixels, which is"
            f" none of: {', '.join(sizes)}; of others the attention heads are known only if the width is a multiple of"
            f" {HEAD_WIDTH}"
        )
    image_sizes = {size.patch_size: size.image_size for size in sizes.values()}
    other = replace(
        default,
        embed_dim=width,
        depth=depth,
        num_heads=width // HEAD_WIDTH,
        mlp_dim=_length(tensors, "blocks.0.mlp.fc1.bias") or 4 * width,
        patch_size=patch,
        image_size=image_sizes.get(patch, 14 * patch),
    )
    return _with_table(other, positions)


def named_like(sizes: Sizes, config: JointViTConfig) -> str | None:
    """The size of that width, depth, patch and pooling; of several, the one of these pixels."""

    def key(size: JointViTConfig) -> tuple[object, ...]:
        return size.embed_dim, size.depth, size.patch_size, size.pooling

    close = [name for name, size in sizes.items() if key(size) == key(config)]
    return next((name for name in close if sizes[name].image_size == config.image_size), next(iter(close), None))


def _with_table(config: JointViTConfig, positions: int | None) -> JointViTConfig:
    """`config` for clips of as many tokens as a file's table of positions has; as it is without one.

    Frames doubled up to 8 times, then images up to twice as wide: that gives one answer for every official file
    (32 frames of 336 pixels have as many tokens as 8 of 672). If none fits, strict loading refuses.
    """
    if positions is None or config.resampling == "recomputed":
        return config
    config = replace(config, positions="stored")
    t, rows, columns = config.grid
    for factor in (1, 2, 4, 8):
        if positions == factor * t * rows * columns:
            return replace(config, num_frames=factor * config.num_frames)
    for factor in (1, 2, 4, 8):
        side = math.isqrt(positions // (factor * t))
        if positions == factor * t * side**2 and rows < side < 2 * rows:
            return replace(config, num_frames=factor * config.num_frames, image_size=side * config.patch_size)
    return config


def _length(tensors: Mapping[str, Tensor], name: str) -> int:
    """Entries of a vector; 0 where there is none of that name."""
    tensor = tensors.get(name)
    return len(tensor) if tensor is not None and tensor.ndim == 1 else 0


def possible_families(signature: CheckpointSignature) -> tuple[str, ...]:
    """Which plug-ins a file may belong to, () if it is not of this kind.

    UMT's tubes are one frame long. VideoMAE v2 differs from VideoMAE in nothing but sizes and training: its public
    files have 710 classes, the giant's width, or names that begin with "model."; a fine-tuned file without its head
    may be of either.
    """
    hub = bool(signature.shapes) and all(name.startswith(OUTER) for name in signature.shapes)
    theirs = _of_transformers(signature.shapes)
    inner = signature.under(OUTER[0]) if hub else signature
    official = replace(inner, shapes={_inner_name(name, theirs): shape for name, shape in inner.shapes.items()})
    kernel = official.shapes.get(PATCHES, ())
    separate_biases = any(name.endswith((".attn.q_bias", ".attn.v_bias")) for name in official.shapes)
    if not separate_biases or official.has("cls_token") or len(kernel) not in (0, 5):
        return ()
    if kernel[2:3] == (1,) or official.starts("clip_decoder."):
        return ("umt",)
    classes, width = (official.shapes.get(name, (0,))[0] for name in ("head.weight", "patch_embed.proj.bias"))
    if hub or classes == V2_CLASSES or width == V2_WIDTH:
        return ("videomae2",)
    return ("videomae",) if theirs or official.starts(*OTHER_PARTS) else ("videomae", "videomae2")


def _infer_config(plain: Sizes, normed: Sizes, reader: ConfigReader) -> JointViTConfig:
    """The shape of the encoder in a file; with a norm that has weights if it is fine-tuned, or named so.

    Args:
        plain: sizes whose norm is of the mean of tokens.
        normed: sizes whose norm is of tokens.
        reader: of the file.

    Raises:
        CheckpointError: a network of another kind, or one that cannot be used as its variant says.
    """
    wanted = {name: tensor for name, tensor in reader.tensors.items() if not name.startswith(OTHER_PARTS)}
    prefix = "videomae." if _of_transformers(wanted) else "encoder."
    whole = any(name.startswith(prefix) for name in wanted)  # else the encoder's names are bare
    strangers = [name for name in wanted if whole and not name.startswith((prefix, "fc_norm."))]
    if strangers:
        raise CheckpointError(
            f"{reader.source} does not fit the network: unknown {len(strangers)} beside {prefix}* ({listed(strangers)})"
        )
    fine_tuned, token_norm = _is_fine_tuned(wanted), (reader.variant or "").endswith(TOKEN_NORM)
    if fine_tuned and token_norm:
        raise CheckpointError(
            f"{reader.source} is fine-tuned: its norm (fc_norm) is of the mean, it has none of tokens;"
            f" leave out {TOKEN_NORM}"
        )
    config = joint_config(normed if token_norm else plain, reader.of(_official(wanted)))
    return replace(config, affine_norm=fine_tuned or token_norm)


def _ignored(config: JointViTConfig) -> str:
    """A pretrained file's norm of tokens is left out where the mean is normalised; strict loading wants fc_norm."""
    norm = "" if config.affine_norm else r"|(?:encoder\.)?norm\.|(?:videomae\.)?layernorm\."
    return "|".join(map(re.escape, OTHER_PARTS)) + norm


def _described(checkpoint: Checkpoint, config: JointViTConfig) -> tuple[FolderConfig, JointViTConfig] | None:
    """The description of a VideoMAE beside the weights, the library's or the one of version 2's authors, and the shape.

    Raises:
        CheckpointError: it describes another network than the tensors, or none.
    """
    content = checkpoint.config or {}
    inner = content.get("model_config")
    described = content if content.get("model_type") == "videomae" else inner if isinstance(inner, Mapping) else None
    if described is None:
        return None
    folder = FolderConfig(checkpoint, described)
    for keys, value in (
        (("num_hidden_layers", "depth"), config.depth),
        (("hidden_size", "embed_dim"), config.embed_dim),
        (("intermediate_size",), config.mlp_dim),
        (("patch_size",), config.patch_size),
    ):
        folder.require(keys, value)
    for key, plain in (("hidden_act", "gelu"), ("qkv_bias", True)):
        folder.require((key,), plain, "the only one here; --backbone transformers builds what is described")
    try:
        stated = replace(
            config,
            image_size=folder.get(("image_size", "img_size"), config.image_size),
            num_frames=folder.get(("num_frames", "all_frames"), config.num_frames),
            tubelet=folder.get(("tubelet_size",), config.tubelet),
            num_heads=folder.get(("num_attention_heads", "num_heads"), config.num_heads),
            norm_eps=folder.get(("layer_norm_eps",), config.norm_eps),
        )
    except VideoNetworkError as error:
        raise CheckpointError(f"{folder.path} describes no network: {error}") from error
    return folder, stated


def _format(checkpoint: Checkpoint) -> str:
    saved_by = "transformers" if _of_transformers(checkpoint.tensors) else "official"
    return f"{saved_by} file, {'fine-tuned' if _is_fine_tuned(checkpoint.tensors) else 'pretrained'}"


def _converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors by the network's names."""
    official = _official(tensors)
    return with_one_bias(fused(official, PROJECTIONS, ".attn.qkv.weight") if _of_transformers(tensors) else official)


def _official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of an encoder by the names of `JointViT`, but for biases and the library's three projections."""
    theirs = _of_transformers(tensors)
    return renamed(tensors, lambda name: _inner_name(name, theirs).replace("fc_norm.", "norm."))


def with_one_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with `q_bias` and `v_bias` as `qkv.bias`: query, zeros for the keys, value.

    What is no pair stays under its own name, by which strict loading refuses it.
    """
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith((".q_bias", ".v_bias"))}
    for attention in {name[: -len("q_bias")] for name in tensors if name not in result}:
        pair = {name: tensors.get(name) for name in (f"{attention}q_bias", f"{attention}v_bias")}
        query, value = pair.values()
        if query is None or value is None or query.ndim != 1 or query.shape != value.shape:
            result |= {name: tensor for name, tensor in pair.items() if tensor is not None}
        else:
            result[f"{attention}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return result


def _of_transformers(names: Iterable[str]) -> bool:
    return any(map(LIBRARY_FILE.match, names))


def _is_fine_tuned(names: Iterable[str]) -> bool:
    return any(map(FINE_TUNED_FILE.match, names))


def _inner_name(name: str, theirs: bool) -> str:
    """A name of the file as the encoder has it officially: "encoder.norm.bias" is "norm.bias"."""
    if not theirs:
        return name.removeprefix("encoder.")
    return replaced(name.removeprefix("videomae."), TRANSFORMERS_NAMES)


def _suspicions(tensors: Mapping[str, Tensor], source: Path) -> tuple[str, ...]:
    """A note on biases that are all zero: training does not leave them so, a defect of transformers 5.0 did."""
    endings = (".q_bias", ".v_bias", ".query.bias", ".value.bias")
    biases = [tensor for name, tensor in tensors.items() if name.endswith(endings)]
    if not biases or any(bool(bias.any()) for bias in biases):
        return ()
    note = "all query and value biases of the file are zero, as transformers 5.0 left them when it loaded VideoMAE"
    logger.warning("%s: %s", source, note)
    return (note,)
