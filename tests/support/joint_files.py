"""Random tensors as the authors of VideoMAE, VideoMAE v2, UMT and V-JEPA name them, and their forward in full."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.plain_layers import attend, layer_norm, linear, mlp

DIM, DEPTH, HEADS, HIDDEN, PATCH = 128, 4, 2, 512, 8  # the size `tiny` of all of them

Tensors = dict[str, Tensor]


def encoder(tubelet: int, *, separate_biases: bool, norm: str, dim: int = DIM, depth: int = DEPTH) -> Tensors:
    """An encoder's tensors; queries and values with biases of their own, or one bias for queries, keys and values."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (dim, 3, tubelet, PATCH, PATCH),
        "patch_embed.proj.bias": (dim,),
    }
    for i in range(depth):
        biases = {"attn.q_bias": (dim,), "attn.v_bias": (dim,)} if separate_biases else {"attn.qkv.bias": (3 * dim,)}
        block: dict[str, tuple[int, ...]] = {
            "norm1.weight": (dim,),
            "norm1.bias": (dim,),
            **biases,
            "attn.qkv.weight": (3 * dim, dim),
            "attn.proj.weight": (dim, dim),
            "attn.proj.bias": (dim,),
            "norm2.weight": (dim,),
            "norm2.bias": (dim,),
            "mlp.fc1.weight": (4 * dim, dim),
            "mlp.fc1.bias": (4 * dim,),
            "mlp.fc2.weight": (dim, 4 * dim),
            "mlp.fc2.bias": (dim,),
        }
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {f"{norm}.weight": (dim,), f"{norm}.bias": (dim,)}
    return random_tensors(shapes)


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 1) -> Tensors:
    """Nothing is zero, nothing one; vectors are large enough to make a difference, matrices keep activations finite."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * (0.3 if len(shape) == 1 else 1.5 / math.prod(shape[1:]) ** 0.5)
        for name, shape in shapes.items()
    }


def tokens(w: Tensors, clips: Tensor, positions: Tensor) -> Tensor:
    """After the last block, [B, N, D], as the official code computes them."""
    kernel = w["patch_embed.proj.weight"]
    x = F.conv3d(clips, kernel, w["patch_embed.proj.bias"], stride=kernel.shape[2:]).flatten(2).transpose(1, 2)
    x = x + positions
    for i in range(DEPTH):
        x = x + self_attention(layer_norm(x, w, f"blocks.{i}.norm1"), w, f"blocks.{i}.attn")
        x = x + mlp(layer_norm(x, w, f"blocks.{i}.norm2"), w, f"blocks.{i}.mlp")
    return x


def self_attention(x: Tensor, w: Tensors, name: str) -> Tensor:
    """With whichever biases there are: keys have none where they are separate."""
    q, k, v = (x @ part.T for part in w[f"{name}.qkv.weight"].chunk(3))
    if f"{name}.q_bias" in w:
        q, v = q + w[f"{name}.q_bias"], v + w[f"{name}.v_bias"]
    else:
        q, k, v = (y + b for y, b in zip((q, k, v), w[f"{name}.qkv.bias"].chunk(3), strict=True))
    return linear(attend(q, k, v, HEADS), w, f"{name}.proj")


def unit_norm(x: Tensor) -> Tensor:
    """Layer norm without weights."""
    return layer_norm(x, {}, None)


def clips(frames: int = 16, size: int = 32) -> Tensor:
    """Two clips of noise, [2, 3, T, H, W]."""
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(0))


def damaged(tensors: Tensors, name: str, how: str) -> Tensors:
    """`tensors` with one of them renamed, missing or transposed."""
    changed = dict(tensors)
    tensor = changed.pop(name)
    if how == "renamed":
        changed[name.replace("weight", "wait").replace("bias", "byas")] = tensor
    if how == "transposed":
        changed[name] = tensor.transpose(0, 1).contiguous()
    return changed
