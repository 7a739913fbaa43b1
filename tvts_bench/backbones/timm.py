"""Any image network of timm over frames: `timm:NAME`, with the input and pooling that timm has for it.

Weights are files in timm's own layout, or folders and `timm/NAME` of the Hub, whose config.json names the network.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tvts_bench.backbones import (
    Backbone,
    BackboneError,
    CheckpointSignature,
    ConfigReader,
    Family,
    ModelCard,
    NetworkBackbone,
    WeightSource,
)
from tvts_bench.backbones.base import refuse_failing
from tvts_bench.errors import with_article
from tvts_bench.models.checkpoint import FOLDER_CONFIG, Checkpoint
from tvts_bench.models.foreign_config import refuse_sizes
from tvts_bench.models.state_dict import load_strictly, refuse_misfit, seeded, without_prefixes
from tvts_bench.models.video_network import FrameAverage, ImageNetwork
from tvts_bench.video.spec import ClipSpec

import timm  # isort: skip
from timm.data import resolve_model_data_config  # type: ignore[attr-defined]  # isort: skip
from timm.models import group_parameters  # isort: skip

VARIANTS = (
    "vit_base_patch16_224",
    "vit_base_patch16_224.mae",
    "convnext_base",
    "resnet50",
    "swin_base_patch4_window7_224",
    "tiny",
)
NOT_THE_NETWORKS = re.compile("num_classes|checkpoint_path|cache_dir|features_only|scriptable|exportable|pretrained.*")
"""Of model_args: classes, other weights, other uses."""
INPUT = ("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
"""Of pretrained_cfg: what describes the input. Other entries say where weights are, and which tensors are a head."""
TOY, TOY_PATCH, TOY_INPUT = "test_vit", 8, {"input_size": (3, 32, 32), "crop_pct": 1.0}  # what `tiny` is
CARD = ModelCard(
    title="timm",
    what="any of timm's image networks (timm.list_models()); each frame on its own, averaged",
    weights={"timm/NAME": "https://huggingface.co/timm (named by --ckpt timm/NAME, or a file in timm's layout)"},
    licence="as the network's page says",
    supervised="as the network's page says",
    input="16 frames, centres of equal segments; size, resize, mean and deviation as timm has them for the network",
    representation="what timm pools before its classifier (before the projection of a CLIP), mean over frames",
    published=(),
    reference="Wightman, https://github.com/huggingface/pytorch-image-models",
)


@dataclass(frozen=True)
class TimmConfig:
    """Which network of timm it is."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of its constructor, from a config.json


def matches(signature: CheckpointSignature) -> bool:
    """Whether a config.json beside the weights names a network of timm; tensors alone do not tell which it is."""
    return signature.config is not None and timm.is_model(str(signature.config.get("architecture", "")))


def infer_config(reader: ConfigReader) -> TimmConfig:
    """The network that is named, or the one of the config.json beside the weights, with its arguments there.

    Raises:
        BackboneError: neither says which it is, or the config.json makes no sense.
        CheckpointError: it has sizes that no network has.
    """
    path, described = reader.source, reader.checkpoint.config or {}
    stated = described.get("architecture")
    name = reader.variant or stated
    if not isinstance(name, str):
        raise BackboneError(f"{path} does not say which network it is: name it, --backbone timm:NAME")
    for part in ("model_args", "pretrained_cfg"):
        if not isinstance(described.get(part) or {}, Mapping):
            kind = with_article(type(described[part]).__name__)
            raise BackboneError(f"config.json has {kind} as {part}, expected an object: fetch the folder anew")
    given = described.get("model_args") or {}
    arguments = {key: value for key, value in given.items() if not NOT_THE_NETWORKS.fullmatch(key)}
    if described.get("pretrained_cfg") and stated == name.partition(".")[0]:
        arguments["pretrained_cfg"] = _with_input(name, described["pretrained_cfg"])
    refuse_sizes(described, path.parent / FOLDER_CONFIG)
    return TimmConfig(name, arguments)


def filled(config: TimmConfig, checkpoint: Checkpoint) -> tuple[nn.Module, WeightSource]:
    """The network with a file's weights; what its constructor draws is replaced by them.

    Raises:
        CheckpointError: the file does not fit, by name or shape; where a config.json has arguments, said before memory
            is taken for the network that they make.
    """
    tensors = without_prefixes(checkpoint.tensors)

    def wanted(net: nn.Module) -> dict[str, Tensor]:
        own, heads = net.state_dict(), _classifiers(net)  # which `net` has not
        return {key: tensor for key, tensor in tensors.items() if key in own or not key.startswith(heads)}

    if config.arguments.keys() - {"pretrained_cfg"}:
        with torch.device("meta"):
            net = build(config)
        refuse_misfit(net, wanted(net), checkpoint.path)
    net = seeded(partial(build, config), 0)
    taken = wanted(net)
    unused = [key for key in tensors if key not in taken]
    report = load_strictly(net, taken, checkpoint.path, format=checkpoint.format, unused=unused)
    return net, WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)


def build(config: TimmConfig) -> nn.Module:
    """Timm's network without a classifier, for any resolution where it has a way to that.

    Raises:
        BackboneError: timm knows no such network, or cannot make it with these arguments.
    """
    name, arguments = config.name, config.arguments
    if name == "tiny":
        name, arguments = TOY, {"patch_size": TOY_PATCH, "pretrained_cfg": _with_input(TOY, TOY_INPUT)}
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.partition(".")[0], timm.list_models())
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise BackboneError(f"timm {timm.__version__} has no network {name!r}{hint}; timm.list_models() has all names")
    create = partial(timm.create_model, name, pretrained=False, num_classes=0, **arguments)
    try:
        try:
            return create(dynamic_img_size=True)
        except TypeError:  # networks that know no such argument
            return create()
    except Exception as error:  # whatever a network says to sizes that cannot be
        tags = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*"))
        raise BackboneError(f"timm cannot make {name} ({error}); with weights it has: {tags or 'none'}") from error


def _with_input(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What timm knows of the weights of `name`, with `given` in its place where it says otherwise."""
    known = timm.get_pretrained_cfg(name)
    return {**(known.to_dict() if known else {}), **{key: given[key] for key in INPUT if key in given}}


def _classifiers(net: nn.Module) -> tuple[str, ...]:
    """Beginnings of the names of what `net` would have for classes."""
    classifier: str | Iterable[str] | None = net.pretrained_cfg.get("classifier")  # type: ignore[union-attr,operator]
    return tuple(f"{each}." for each in ([classifier] if isinstance(classifier, str) else classifier or ()))


def wrapped(net: nn.Module, name: str, weights: WeightSource) -> Backbone:
    """Timm's network over frames, with the input, pooling and layers that timm has for it.

    Args:
        net: timm's.
        name: of it.
        weights: where its weights are from.
    """
    network, spec = FrameAverage(ImageNetwork(net)), _clip_spec(net, name)
    layers: dict[str, int] = group_parameters(net, net.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    return NetworkBackbone(
        network=network,
        family="timm",
        variant=name,
        embed_dim=getattr(net, "head_hidden_size", net.num_features),  # type: ignore[arg-type]
        clip_spec=spec,
        weights=weights,
        tokens=network.tokens if hasattr(net, "num_prefix_tokens") else None,
        layer_of=lambda parameter: layers[parameter.removeprefix("image.vit.")],
        adaptations=partial(_adaptations, network, name, spec.crop),
    )


def _clip_spec(net: nn.Module, name: str) -> ClipSpec:
    """The evaluation input that timm has, for 16 frames."""
    data = resolve_model_data_config(net)
    _, height, crop = data["input_size"]
    if height != crop:
        raise BackboneError(f"timm's {name} takes images of {height} x {crop} pixels; only square ones are cut here")
    return ClipSpec(
        short_side=max(int(crop / data["crop_pct"]), crop),
        crop=crop,
        resize="squash" if data["crop_mode"] == "squash" else "short_side",
        interpolation="bilinear" if data["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def _adaptations(network: nn.Module, name: str, own: int, clip: ClipSpec) -> tuple[str, ...]:
    """What another resolution than `own` changes; it is tried once."""
    if clip.crop == own:
        return ()
    refuse_failing(network, f"timm:{name}", replace(clip, num_frames=1))
    return (f"frames of {clip.crop} x {clip.crop} pixels in a network made for {own} x {own}, resampled as by timm",)


FAMILY = Family(
    name="timm",
    card=CARD,
    sizes={name: TimmConfig(name) for name in VARIANTS},
    matches=matches,
    infer_config=infer_config,
    build=build,
    variant_of=lambda sizes, config: config.name,
    fill=filled,
    wrap=wrapped,
    open_variants=TimmConfig,
)
