"""Small files of weights."""

from pathlib import Path

import torch

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, -1.0])}


def saved(path: Path, value: object, **options: bool) -> Path:
    torch.save(value, path, **options)
    return path
