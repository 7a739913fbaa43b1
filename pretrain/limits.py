"""How large a configuration may be: far beyond what anyone trains, and refused before it takes memory or time."""

import re
from collections.abc import Mapping
from typing import Any

from pretrain.schema import ConfigError

LARGEST: Mapping[str, int] = {
    "steps": 10**9,
    "epochs": 10**6,
    "video.embed_dim": 65_536,
    "video.depth": 1_000,
    "video.mlp_ratio": 64,
    "video.image_size": 8_192,
    "video.num_frames": 4_096,
    "text.dim": 65_536,
    "text.depth": 1_000,
    "text.mlp_ratio": 64,
    "text.max_tokens": 8_192,
    "model.projection_dim": 65_536,
    "data.batch_size": 10**6,
    "data.sources.N.batch_size": 10**6,
    "data.sources.N.frames": 4_096,
    "data.crop.short_side": 8_192,
    "optim.accumulate": 10**6,
    "init.text_steps": 10**9,
    "init.text_batch": 10**6,
    "validation.samples": 10**7,
    "validation.clips": 10**7,
    "validation.source.frames": 4_096,
}
"""By dotted key; N is the number of an item."""

WEIGHTS = 20 * 10**9
"""Of both encoders together."""


def refuse_too_large(values: Mapping[str, Any]) -> None:
    """Refuse a number of `values` (by dotted key) beyond its limit, and sizes that make too many weights together.

    Raises:
        ConfigError: with the key, the value and the limit.
    """
    for key, value in values.items():
        limit = LARGEST.get(re.sub(r"\.\d+\.", ".N.", key))
        if limit is not None and value is not None and value > limit:
            raise ConfigError(f"{key} must be at most {limit:,}, got {value:,}")
    weights = num_weights(values)
    if weights > WEIGHTS:
        raise ConfigError(
            f"video and text describe networks of {weights:,} weights, more than the {WEIGHTS:,} allowed: make depth or"
            " width (video.embed_dim, text.dim) smaller"
        )


def num_weights(values: Mapping[str, Any]) -> int:
    """About how many weights both encoders have; of the text encoder only where it is built here."""
    width, patch = values["video.embed_dim"], values["video.patch_size"]
    tokens = (values["video.image_size"] // patch) ** 2 + values["video.num_frames"]
    found = _blocks(values, "video", width) + tokens * width + 3 * patch**2 * values["video.tubelet"] * width
    if values["text.name"] is None:
        found += _blocks(values, "text", values["text.dim"]) + values["text.max_tokens"] * values["text.dim"]
    return int(found)


def _blocks(values: Mapping[str, Any], part: str, width: int) -> int:
    """Four matrices of attention and two of the MLP in each block."""
    return int(values[f"{part}.depth"] * (4 + 2 * values[f"{part}.mlp_ratio"]) * width**2)
