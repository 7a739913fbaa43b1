"""InternVideo2's encoder and attention pool in plain operations, from weights by their official names."""

import torch
from torch import Tensor

from tests.support.plain_layers import Weights, attend, layer_norm, linear, mlp


def rms(x: Tensor, w: Weights, name: str) -> Tensor:
    """Root mean square norm over the last axis."""
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * w[f"{name}.weight"]


def restated(w: Weights, clip: Tensor, positions: Tensor, heads: int = 2) -> tuple[Tensor, Tensor]:
    """Tokens [1 + TN, D] and the embedding [output] of one clip [3, T, H, W]; positions [1 + TN, D]."""
    kernel = w["patch_embed.proj.weight"][:, :, 0]
    patch = kernel.shape[-1]
    grid = clip.shape[2] // patch
    tokens = [w["cls_token"][0, 0]]
    for t in range(clip.shape[1]):
        for place in range(grid * grid):
            top, left = place // grid * patch, place % grid * patch
            pixels = clip[:, t, top : top + patch, left : left + patch]
            tokens.append((kernel * pixels).sum((1, 2, 3)) + w["patch_embed.proj.bias"])
    x = torch.stack(tokens) + positions
    for i in range(len({name.split(".")[1] for name in w if name.startswith("blocks.")})):
        own = {name.removeprefix(f"blocks.{i}."): tensor for name, tensor in w.items()}
        q, k, v = (rms(x, own, "norm1") @ own["attn.qkv.weight"].T).chunk(3, dim=1)
        mixed = attend(rms(q, own, "attn.q_norm"), rms(k, own, "attn.k_norm"), v, heads)
        x = x + own["ls1.gamma"] * linear(mixed, own, "attn.proj")
        x = x + own["ls2.gamma"] * mlp(rms(x, own, "norm2"), own, "mlp")
    pool = {name.removeprefix("clip_projector."): tensor for name, tensor in w.items()}
    asked = {"q": x.mean(0, keepdim=True), "k": x, "v": x}
    q, k, v = (
        layer_norm(source, pool, f"norm1_{part}", 1e-5) @ pool[f"cross_attn.{part}.weight"].T
        + pool[f"cross_attn.{part}_bias"]
        for part, source in asked.items()
    )
    return x, linear(attend(q, k, v, 16), pool, "cross_attn.proj")[0]
