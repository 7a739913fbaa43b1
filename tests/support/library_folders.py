"""Folders of the transformers library."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tests.support.altered import clips, trained

import transformers as library  # isort: skip

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 9,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

PROCESSOR: dict[str, Any] = {
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 3,
}


def folder(path: Path, model: nn.Module, processor: dict[str, Any] | None = None) -> Path:
    """`path`, with the model as the library saves it."""
    model.save_pretrained(path)  # type: ignore[operator]
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def vit() -> nn.Module:
    return trained(library.ViTModel(library.ViTConfig(**SMALL)))


def siglip() -> nn.Module:
    return trained(library.SiglipModel(library.SiglipConfig(vision_config=SMALL, text_config=TEXT)))


def frames(size: int = 32) -> Tensor:
    """The frames of the test's clips, [6, 3, size, size]."""
    return clips(size=size).transpose(1, 2).flatten(0, 1)


def mean(values: Tensor) -> Tensor:
    return values.unflatten(0, (2, 3)).mean(1)  # type: ignore[no-any-return]


def described(path: Path, **changes: object) -> Path:
    """The folder, with other entries in its config.json."""
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(content | changes))
    return path
