"""Random tensors and training checkpoints as the codes of Frozen, MCQ, MILES, TVTSv2, TimeSformer and SVT save them."""

import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WIDTH, DEPTH, PATCH, GRID, MLP = 128, 2, 8, 4, 512
Shapes = dict[str, tuple[int, ...]]


def made(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors, none at a value that would hide a mistake: scales are about one, all else is small."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: tensor + ("norm" in name or "ln_" in name) * (tensor.ndim == 1) for name, tensor in noise.items()}


def layer(name: str, out: int, into: int = WIDTH) -> Shapes:
    """A linear layer."""
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int = WIDTH) -> Shapes:
    """A layer norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def attention(name: str) -> Shapes:
    """Joint queries, keys and values, and what follows the heads."""
    return layer(f"{name}.qkv", 3 * WIDTH) | layer(f"{name}.proj", WIDTH)


def frozen(frames: int = 4, time: bool = True, final: str = "norm") -> Shapes:
    """Frozen's video encoder; without time and with `norm1` at the end, MCQ's."""
    shapes: Shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 1 + GRID**2, WIDTH)}
    if time:
        shapes["temporal_embed"] = (1, frames, WIDTH)
    shapes |= {"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    for i in range(DEPTH):
        shapes |= norm(f"blocks.{i}.norm1") | attention(f"blocks.{i}.attn") | norm(f"blocks.{i}.norm2")
        shapes |= layer(f"blocks.{i}.mlp.fc1", MLP) | layer(f"blocks.{i}.mlp.fc2", WIDTH, MLP)
        if time:
            shapes |= attention(f"blocks.{i}.timeattn") | norm(f"blocks.{i}.norm3")
    return shapes | norm(final)


def tvts2(patch: int = PATCH, grid: int = GRID) -> Shapes:
    """TVTSv2's video encoder, by CLIP's names."""
    shapes: Shapes = {
        "class_embedding": (WIDTH,),
        "positional_embedding": (1 + grid**2, WIDTH),
        "proj": (WIDTH, 64),
        "temporal_embedding": (12, WIDTH),
        "conv1.weight": (WIDTH, 3, patch, patch),
    }
    shapes |= norm("ln_pre") | norm("ln_post")
    for i in range(DEPTH):
        block = f"transformer.resblocks.{i}"
        shapes |= attention(f"{block}.attn") | attention(f"{block}.timeattn")
        shapes |= norm(f"{block}.ln_1") | norm(f"{block}.ln_2") | norm(f"{block}.ln_3")
        shapes |= layer(f"{block}.mlp.c_fc", MLP) | layer(f"{block}.mlp.c_proj", WIDTH, MLP)
    return shapes


def timesformer(frames: int = 8) -> Shapes:
    """TimeSformer's and SVT's network."""
    shapes: Shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID**2, WIDTH),
        "time_embed": (1, frames, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        block = f"blocks.{i}"
        shapes |= norm(f"{block}.norm1") | attention(f"{block}.attn") | norm(f"{block}.temporal_norm1")
        shapes |= attention(f"{block}.temporal_attn") | layer(f"{block}.temporal_fc", WIDTH) | norm(f"{block}.norm2")
        shapes |= layer(f"{block}.mlp.fc1", MLP) | layer(f"{block}.mlp.fc2", WIDTH, MLP)
    return shapes | norm("norm")


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with `prefix` before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def training_checkpoint(path: Path, state: dict[str, Tensor]) -> Path:
    """A file as pytorch-template saves it: with a `config` of a class that is nowhere to be found when it is read."""
    module = types.ModuleType("parse_config_dist_multi")
    cls = type("ConfigParser", (), {"__module__": module.__name__})
    module.ConfigParser = cls  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    config: Any = cls()
    config.save_dir = Path("exps")
    content = {"arch": "DistributedDataParallel", "epoch": 3, "state_dict": state, "optimizer": {}, "config": config}
    torch.save(content, path)
    sys.modules.pop(module.__name__)
    return path


def clips(frames: int, size: int = 32) -> Tensor:
    """Two clips of noise, the same each time."""
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(0))


def altered(state: dict[str, Tensor], name: str, change: str) -> dict[str, Tensor]:
    """`state` with the tensor `name` renamed, left out, or with its last two dimensions exchanged."""
    rest = {key: tensor for key, tensor in state.items() if key != name}
    if change == "missing":
        return rest
    assert state[name].shape[-1] != state[name].shape[-2]
    return rest | ({f"{name}_": state[name]} if change == "renamed" else {name: state[name].mT.contiguous()})


CHANGES = ("renamed", "missing", "transposed")
