"""Backbones, one file a family. A new one is a module here with a FAMILY, and a line below.

What a family of another package needs is offered here by name, loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvts_bench.backbones._builder import Family as Family
    from tvts_bench.backbones._builder import OpenFamily as OpenFamily
    from tvts_bench.backbones._builder import Tensors as Tensors
    from tvts_bench.backbones._builder import loaded_weights as loaded_weights
    from tvts_bench.backbones._builder import random_weights as random_weights
    from tvts_bench.backbones._builder import square_clip as square_clip
    from tvts_bench.backbones._conversion.reader import ConfigReader as ConfigReader
    from tvts_bench.backbones.base import Backbone as Backbone
    from tvts_bench.backbones.base import BackboneError as BackboneError
    from tvts_bench.backbones.base import NetworkBackbone as NetworkBackbone
    from tvts_bench.backbones.base import WeightSource as WeightSource
    from tvts_bench.backbones.base import from_transformers as from_transformers
    from tvts_bench.backbones.detect import CheckpointSignature as CheckpointSignature
    from tvts_bench.backbones.model_cards import ModelCard as ModelCard

_PUBLIC = (
    *("Family", "OpenFamily", "Tensors", "from_transformers", "loaded_weights", "random_weights", "square_clip"),
    *("ConfigReader", "Backbone", "BackboneError", "NetworkBackbone", "WeightSource", "CheckpointSignature"),
    "ModelCard",
)
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


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._builder"), name)  # which has them all
