"""The divided space-time transformers in plain operations, token by token, from weights by their official names."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.plain_layers import Weights, attend, layer_norm, linear, mlp


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the parts are called in a file."""

    cls: str = "cls_token"
    space: str = "pos_embed"
    time: str = "temporal_embed"
    patch: str = "patch_embed.proj"
    pre: str | None = None
    block: str = "blocks."
    norms: tuple[str, str, str] = ("norm1", "norm2", "norm3")  # before space, before the MLP, before time
    mlp: tuple[str, str] = ("mlp.fc1", "mlp.fc2")
    norm: str = "norm"
    proj: str | None = None


FROZEN = Names()
MCQ = Names(norm="norm1")
OURS_CLIP = Names(pre="norm_pre", proj="proj")
CLIP = Names(
    cls="class_embedding",
    space="positional_embedding",
    time="temporal_embedding",
    patch="conv1",
    pre="ln_pre",
    block="transformer.resblocks.",
    norms=("ln_1", "ln_2", "ln_3"),
    mlp=("mlp.c_fc", "mlp.c_proj"),
    norm="ln_post",
    proj="proj",
)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What weights do not show."""

    names: Names = FROZEN
    heads: int = 2
    has_time: bool = True
    quick_gelu: bool = False

    @property
    def eps(self) -> float:
        """Of layer norms."""
        return 1e-6 if self.names.pre is None else 1e-5


def tokens(w: Weights, plain: Plain, clip: Tensor, spaces: Tensor | None = None, times: Tensor | None = None) -> Tensor:
    """All output tokens [1 + TN, D] of one clip [3, T, H, W].

    Positions in space [1 + N, D] and time [T, D] are those of the file, cut or zero-filled to T, unless given.
    """
    names = plain.names
    spaces = w[names.space].reshape(-1, w[names.space].shape[-1]) if spaces is None else spaces
    if plain.has_time and times is None:
        table = w[names.time].reshape(-1, spaces.shape[1])
        times = torch.cat([table, table.new_zeros(clip.shape[1], spaces.shape[1])])[: clip.shape[1]]
    x = embedded(w, names, clip, spaces, times)
    if names.pre is not None:
        x = layer_norm(x, w, names.pre, plain.eps)
    places, every = len(spaces) - 1, range(len(x))
    in_space = [[j for j in every if i == 0 or j == 0 or (j - 1) // places == (i - 1) // places] for i in every]
    in_time = [[j for j in every if i == 0 or j == 0 or (j - 1) % places == (i - 1) % places] for i in every]
    depth = len({name.split(".")[names.block.count(".")] for name in w if name.startswith(names.block)})
    for i in range(depth):
        own = part(w, f"{names.block}{i}.")
        before_space, before_mlp, before_time = names.norms
        y = x
        if plain.has_time:
            y = x + seen_attention(layer_norm(x, own, before_time, plain.eps), own, "timeattn", plain.heads, in_time)
        x = x + seen_attention(layer_norm(y, own, before_space, plain.eps), own, "attn", plain.heads, in_space)
        hidden = linear(layer_norm(x, own, before_mlp, plain.eps), own, names.mlp[0])
        gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + linear(hidden / (1 + torch.exp(-1.702 * hidden)) if plain.quick_gelu else gelu, own, names.mlp[1])
    x = layer_norm(x, w, names.norm, plain.eps)
    return x if names.proj is None else x @ w[names.proj]


def part(w: Weights, prefix: str) -> dict[str, Tensor]:
    """The weights under `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in w.items() if name.startswith(prefix)}


def embedded(w: Weights, names: Names, clip: Tensor, spaces: Tensor, times: Tensor | None) -> Tensor:
    """[CLS] and patches with their positions, time-major."""
    kernel = w[f"{names.patch}.weight"]
    bias = w.get(f"{names.patch}.bias", torch.zeros(len(kernel), dtype=kernel.dtype))
    patch, columns = kernel.shape[-1], clip.shape[3] // kernel.shape[-1]
    found = [w[names.cls].reshape(-1) + spaces[0]]
    for t in range(clip.shape[1]):
        for place in range(len(spaces) - 1):
            top, left = place // columns * patch, place % columns * patch
            pixels = clip[:, t, top : top + patch, left : left + patch]
            token = (kernel * pixels).sum((1, 2, 3)) + bias + spaces[1 + place]
            found.append(token if times is None else token + times[t])
    return torch.stack(found)


def seen_attention(x: Tensor, w: Weights, name: str, heads: int, seen: list[list[int]]) -> Tensor:
    """Of tokens [N, D]; token i sees the tokens `seen[i]`."""
    q, k, v = linear(x, w, f"{name}.qkv").chunk(3, dim=1)
    out = [attend(q[[i]], k[others], v[others], heads)[0] for i, others in enumerate(seen)]
    return linear(torch.stack(out), w, f"{name}.proj")


def timesformer_tokens(w: Weights, heads: int, clip: Tensor) -> Tensor:
    """Output tokens [1 + TN, D], time-major, of a TimeSformer for one clip [3, T, H, W]; tables go to the nearest."""
    grid, frames = clip.shape[3] // w["patch_embed.proj.weight"].shape[-1], clip.shape[1]
    side = math.isqrt(w["pos_embed"].shape[1] - 1)
    rows = [r * side // grid for r in range(grid)]
    near = [0] + [1 + r * side + c for r in rows for c in rows]
    old = w["time_embed"].shape[1]
    times = w["time_embed"][0][[t * old // frames for t in range(frames)]]
    x = embedded(w, FROZEN, clip, w["pos_embed"][0][near], times)
    cls, patches = x[:1], x[1:].unflatten(0, (frames, grid * grid))  # [T, N, D]
    for i in range(len({name.split(".")[1] for name in w if name.startswith("blocks.")})):
        own = part(w, f"blocks.{i}.")
        moved = []
        for place in patches.unbind(1):  # each place through time, without [CLS]
            q, k, v = linear(layer_norm(place, own, "temporal_norm1"), own, "temporal_attn.qkv").chunk(3, dim=1)
            moved.append(linear(linear(attend(q, k, v, heads), own, "temporal_attn.proj"), own, "temporal_fc"))
        patches = patches + torch.stack(moved, dim=1)
        changes = []
        for frame in patches:  # each frame with its own copy of [CLS]
            q, k, v = linear(layer_norm(torch.cat([cls, frame]), own, "norm1"), own, "attn.qkv").chunk(3, dim=1)
            changes.append(linear(attend(q, k, v, heads), own, "attn.proj"))
        change = torch.stack(changes)
        cls, patches = cls + change[:, :1].mean(0), patches + change[:, 1:]
        cls = cls + mlp(layer_norm(cls, own, "norm2"), own, "mlp")
        patches = patches + mlp(layer_norm(patches, own, "norm2"), own, "mlp")
    return layer_norm(torch.cat([cls, patches.flatten(0, 1)]), w, "norm")


def resampled(table: Tensor, grid: int) -> Tensor:
    """Positions [1 + N, D] on a grid of another side: bicubic, antialiased, in single precision."""
    side = math.isqrt(len(table) - 1)
    old = table[1:].T.reshape(1, -1, side, side).float()
    new = F.interpolate(old, size=(grid, grid), mode="bicubic", antialias=True)
    return torch.cat([table[:1], new[0].flatten(1).T.to(table.dtype)])
