"""Files with VideoMAE's tensor names: VideoMAE, VideoMAE v2 and UMT, as their authors or the transformers library save
them, pretrained (an encoder with a norm of tokens, a decoder) or fine-tuned (a norm of their mean, a head).

Queries and values have biases of their own (`q_bias`, `v_bias`; keys have none), here one vector with zeros between.

What a pretrained file represents is not settled: the official fine-tuning code drops the encoder's norm and puts a
fresh one behind the mean, so by default the embedding is the mean of tokens, normalised without weights. Sizes called
"...-token-norm" are the mean of the encoder's own output.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tvts_bench.backbones.adapted import AdaptedBackbone
from tvts_bench.backbones.folder_config import FolderConfig, built_as_described
from tvts_bench.backbones.joint_vit import PATCHES, Encoder, JointFamily, Sizes, refuse_another, told
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import WRAPPERS, Checkpoint, CheckpointMismatchError, listed, without_prefixes
from tvts_bench.models.joint_vit import JointViTConfig, JointViTError
from tvts_bench.models.renaming import renamed, replaced

logger = logging.getLogger(__name__)

TOKEN_NORM = "-token-norm"
OUTER = ("model.",)  # prefix that the authors' class on the Hugging Face hub puts before all names
V2_CLASSES = 710  # of Kinetics-710, with which only VideoMAE v2's tubes of two frames were trained
V2_WIDTH = 1408  # of its giant
OTHER_PARTS = ("head.", "classifier.", "decoder.", "encoder_to_decoder.", "mask_token", "clip_decoder.")
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


def with_token_norm(sizes: Sizes) -> dict[str, JointViTConfig]:
    """`sizes`, whose norm has no weights until a fine-tuned file brings them, and each with the encoder's own norm."""
    plain = {name: replace(size, affine_norm=False) for name, size in sizes.items()}
    normed = {f"{name}{TOKEN_NORM}": replace(size, pooling="mean_of_norm") for name, size in sizes.items()}
    return plain | normed


def possible_families(layout: Layout) -> tuple[str, ...]:
    """Which plug-ins a file may belong to, () if it is not of this kind.

    UMT's tubes are one frame long. VideoMAE v2 differs from VideoMAE in nothing but sizes and training: its public
    files have 710 classes, the giant's width, or names that begin with "model."; a fine-tuned file without its head
    may be of either.
    """
    hub = bool(layout.shapes) and all(name.startswith(OUTER) for name in layout.shapes)
    theirs = _of_transformers(layout.shapes)
    inner = layout.under(OUTER[0]) if hub else layout
    found = Layout(container=None, shapes={_inner_name(name, theirs): shape for name, shape in inner.shapes.items()})
    kernel = found.shapes.get(PATCHES, ())
    separate_biases = any(name.endswith((".attn.q_bias", ".attn.v_bias")) for name in found.shapes)
    if not separate_biases or found.has("cls_token") or len(kernel) not in (0, 5):
        return ()
    if kernel[2:3] == (1,) or found.starts("clip_decoder."):
        return ("umt",)
    classes, width = (found.shapes.get(name, (0,))[0] for name in ("head.weight", "patch_embed.proj.bias"))
    if hub or classes == V2_CLASSES or width == V2_WIDTH:
        return ("videomae2",)
    return ("videomae",) if theirs or found.starts(*OTHER_PARTS) else ("videomae", "videomae2")


def load_masked(family: JointFamily, checkpoint: Checkpoint, variant: str | None) -> AdaptedBackbone:
    """The family's backbone with a file's weights.

    Raises:
        CheckpointMismatchError: the file does not fit, by name or shape, or is of another size than `variant`.
    """
    path = checkpoint.path
    tensors = without_prefixes(checkpoint.tensors, (*WRAPPERS, *OUTER))
    theirs = _of_transformers(tensors)
    unused = [name for name in tensors if name.startswith(OTHER_PARTS)]
    wanted = {name: tensor for name, tensor in tensors.items() if not name.startswith(OTHER_PARTS)}
    tensors = _encoder(wanted, theirs, path)
    fine_tuned = any(name.startswith("fc_norm.") for name in tensors)
    token_norm = variant is not None and variant.endswith(TOKEN_NORM)
    if fine_tuned and token_norm:
        raise CheckpointMismatchError(
            f"{path} is fine-tuned: its norm (fc_norm) is of the mean, it has none of tokens; leave out {TOKEN_NORM}"
        )
    if fine_tuned:
        tensors = renamed(tensors, lambda name: name.replace("fc_norm.", "norm."))
    elif not token_norm:
        unused += [name for name in tensors if name.startswith("norm.")]
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("norm.")}
    sizes = {name: size for name, size in family.sizes.items() if name.endswith(TOKEN_NORM) == token_norm}
    found, config = told(tensors, sizes, path)
    refuse_another(family.name, found, variant, path)
    described = _described(checkpoint, config)
    stated = config if described is None else _stated(described, config)
    checkpoint = built_as_described(checkpoint, stated, config)
    saved_by, kind = "transformers" if theirs else "official", "fine-tuned" if fine_tuned else "pretrained"
    encoder = Encoder(
        tensors=with_one_bias(tensors),
        format=f"{saved_by} file, {kind}",
        unused=tuple(unused),
        notes=_suspicions(tensors, path),
        clip=None if described is None else described.clip_spec(family.clip(stated)),
    )
    return family.loaded(checkpoint, encoder, found, replace(stated, affine_norm=fine_tuned or token_norm))


def _described(checkpoint: Checkpoint, config: JointViTConfig) -> FolderConfig | None:
    """The description of a VideoMAE beside the weights: the library's, or the one of version 2's authors."""
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
    return folder


def _stated(described: FolderConfig, config: JointViTConfig) -> JointViTConfig:
    """`config` with what the folder says and the tensors cannot.

    Raises:
        CheckpointMismatchError: that makes no network.
    """
    try:
        return replace(
            config,
            image_size=described.get(("image_size", "img_size"), config.image_size),
            num_frames=described.get(("num_frames", "all_frames"), config.num_frames),
            tubelet=described.get(("tubelet_size",), config.tubelet),
            num_heads=described.get(("num_attention_heads", "num_heads"), config.num_heads),
            norm_eps=described.get(("layer_norm_eps",), config.norm_eps),
        )
    except JointViTError as error:
        raise CheckpointMismatchError(f"{described.path} describes no network: {error}") from error


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
    return any(name.removeprefix("videomae.").startswith("embeddings.patch_embeddings.") for name in names)


def _inner_name(name: str, theirs: bool) -> str:
    """A name of the file as the encoder has it officially: "encoder.norm.bias" is "norm.bias"."""
    if not theirs:
        return name.removeprefix("encoder.")
    return replaced(name.removeprefix("videomae."), TRANSFORMERS_NAMES)


def _encoder(tensors: Mapping[str, Tensor], theirs: bool, source: Path) -> dict[str, Tensor]:
    """The encoder's tensors by official names, a transformers file's three projections as one."""
    prefix = "videomae." if theirs else "encoder."
    whole = any(name.startswith(prefix) for name in tensors)  # else the encoder's names are bare
    strangers = [name for name in tensors if whole and not name.startswith((prefix, "fc_norm."))]
    if strangers:
        raise CheckpointMismatchError(
            f"{source} does not fit the network: unknown {len(strangers)} beside {prefix}* ({listed(strangers)})"
        )
    official = renamed(tensors, lambda name: _inner_name(name, theirs))
    return _with_one_projection(official) if theirs else official


def _with_one_projection(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value weights as `qkv.weight`; what is no triple stays as it is."""
    result = dict(tensors)
    for name in tensors:
        if name.endswith(".attn.query.weight"):
            attention = name.removesuffix("query.weight")
            names = [f"{attention}{part}.weight" for part in ("query", "key", "value")]
            three = [tensors[n] for n in names if n in tensors and tensors[n].ndim == 2]
            if len(three) == 3 and len({tensor.shape for tensor in three}) == 1:
                result[f"{attention}qkv.weight"] = torch.cat(three)
                for used in names:
                    del result[used]
    return result


def _suspicions(tensors: Mapping[str, Tensor], source: Path) -> tuple[str, ...]:
    """A note on biases that are all zero: training does not leave them so, a defect of transformers 5.0 did."""
    biases = [tensor for name, tensor in tensors.items() if name.endswith((".q_bias", ".v_bias"))]
    if not biases or any(bool(bias.any()) for bias in biases):
        return ()
    note = "all query and value biases of the file are zero, as transformers 5.0 left them when it loaded VideoMAE"
    logger.warning("%s: %s", source, note)
    return (note,)
