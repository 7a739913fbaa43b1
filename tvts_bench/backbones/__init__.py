"""Backbones, one file a family. A new one is a module here with a FAMILY, and a line below.

What a family of another package needs is offered here by name, loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvts_bench.backbones._builder import Family as Family
    from tvts_bench.backbones._builder import OpenFamily as OpenFamily
    from tvts_bench.backbones._builder import random_weights as random_weights
    from tvts_bench.backbones._builder import square_clip as square_clip
    from tvts_bench.backbones.base import NetworkBackbone as NetworkBackbone
    from tvts_bench.backbones.detect import CheckpointSignature as CheckpointSignature
    from tvts_bench.backbones.model_cards import ModelCard as ModelCard

PLUGINS = (
    "tvts",
    "pixels",
    "clip",
    "dinov2",
    "dinov3",
    "siglip2",
    "videomae",
    "videomae2",
    "umt",
    "vjepa",
    "mocov3",
    "mae",
    "frozen",
    "mcq",
    "miles",
    "tvts2",
    "timesformer",
    "svt",
    "vjepa2",
    "internvideo2",
    "mvit",
    "tsm",
    "tanet",
    "tclr",
    "timm",
    "transformers",
)
_BUILDER = (
    "Family",
    "OpenFamily",
    "random_weights",
    "loaded_weights",
    "square_clip",
    "ConfigReader",
    "NetworkBackbone",
)
_PUBLIC = dict.fromkeys(_BUILDER, "_builder") | {"CheckpointSignature": "detect", "ModelCard": "model_cards"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
