"""A transformer's layers in plain operations, from a dictionary of weights: what networks are compared with."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def layer_norm(x: Tensor, w: Weights, name: str | None, eps: float = 1e-6) -> Tensor:
    """Over the last axis; without weights where `name` is None."""
    centred = x - x.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return normed if name is None else normed * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    """With its bias."""
    return torch.einsum("...i,oi->...o", x, w[f"{name}.weight"]) + w[f"{name}.bias"]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention head by head, in full: [B, N, D] of queries, keys and values [B, N, D]."""
    size = q.shape[-1] // heads
    out = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[..., part] @ k[..., part].transpose(-2, -1) / math.sqrt(size)
        out.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ v[..., part])
    return torch.cat(out, -1)


def attention(x: Tensor, w: Weights, name: str, heads: int) -> Tensor:
    """Self-attention with one matrix for queries, keys and values."""
    q, k, v = linear(x, w, f"{name}.qkv").chunk(3, dim=-1)
    return linear(attend(q, k, v, heads), w, f"{name}.proj")


def mlp(x: Tensor, w: Weights, name: str) -> Tensor:
    """Two layers with the exact GELU between them."""
    hidden = linear(x, w, f"{name}.fc1")
    return linear(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), w, f"{name}.fc2")


def block(x: Tensor, w: Weights, name: str, heads: int) -> Tensor:
    """Pre-norm transformer block."""
    x = x + attention(layer_norm(x, w, f"{name}.norm1"), w, f"{name}.attn", heads)
    return x + mlp(layer_norm(x, w, f"{name}.norm2"), w, f"{name}.mlp")
