"""The divided space-time transformer against its equations, written token by token."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig, DividedTransformerError

FROZEN = DividedTransformerConfig(embed_dim=32, depth=2, num_heads=2, image_size=12, patch_size=4, num_frames=3)
MCQ = replace(FROZEN, time_attention=False)
CLIP = replace(FROZEN, clip=True, quick_gelu=True, output_dim=8, longer="linear")
CONFIGS = {"frozen": FROZEN, "mcq": MCQ, "clip": CLIP, "clip exact": replace(CLIP, quick_gelu=False)}


def network(config: DividedTransformerConfig) -> DividedTransformer:
    """Nothing at a value that would hide a mistake: norms, biases and tables are random, too."""
    model = DividedTransformer(config).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + 0.3 * noise if parameter.ndim == 1 else 0.3 * noise)
    return model


def clips(frames: int, size: int = 12, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, frames, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def norm(x: Tensor, state: dict[str, Tensor], name: str, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def attention(x: Tensor, state: dict[str, Tensor], name: str, heads: int, seen: list[list[int]]) -> Tensor:
    """Of one clip's tokens [N, D]; token i sees the tokens `seen[i]`."""
    dim = x.shape[1]
    q, k, v = linear(x, state, f"{name}.qkv").split(dim, dim=1)
    out = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        for token, others in enumerate(seen):
            scores = k[others, part] @ q[token, part] / math.sqrt(dim // heads)
            out[token, part] = torch.softmax(scores, 0) @ v[others, part]
    return linear(out, state, f"{name}.proj")


def restated(model: DividedTransformer, clip: Tensor, spaces: Tensor, times: Tensor | None) -> Tensor:
    """All output tokens of one clip [3, T, H, W]; `spaces` [1 + N, D] and `times` [T, D] are the positions to use."""
    config, state = model.config, model.state_dict()
    eps = 1e-5 if config.clip else 1e-6
    patch, frames = config.patch_size, clip.shape[1]
    rows, columns = clip.shape[2] // patch, clip.shape[3] // patch
    kernel = state["patch_embed.proj.weight"]
    tokens = [state["cls_token"][0, 0] + spaces[0]]
    for t in range(frames):
        for place in range(rows * columns):
            top, left = place // columns * patch, place % columns * patch
            pixels = clip[:, t, top : top + patch, left : left + patch]
            token = torch.stack([(kernel[d] * pixels).sum() for d in range(config.embed_dim)]) + spaces[1 + place]
            token = token if config.clip else token + state["patch_embed.proj.bias"]
            tokens.append(token if times is None else token + times[t])
    x = torch.stack(tokens)
    places = rows * columns
    every = list(range(len(x)))
    frame_of, place_of = [(i - 1) // places for i in every], [(i - 1) % places for i in every]
    in_space = [every if i == 0 else [0] + [j for j in every[1:] if frame_of[j] == frame_of[i]] for i in every]
    in_time = [every if i == 0 else [0] + [j for j in every[1:] if place_of[j] == place_of[i]] for i in every]
    if config.clip:
        x = norm(x, state, "norm_pre", eps)
    for block in range(config.depth):
        name = f"blocks.{block}"
        y = x
        if config.time_attention:
            y = x + attention(
                norm(x, state, f"{name}.norm3", eps), state, f"{name}.timeattn", config.num_heads, in_time
            )
        x = x + attention(norm(y, state, f"{name}.norm1", eps), state, f"{name}.attn", config.num_heads, in_space)
        hidden = linear(norm(x, state, f"{name}.norm2", eps), state, f"{name}.mlp.fc1")
        gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        hidden = hidden / (1 + torch.exp(-1.702 * hidden)) if config.quick_gelu else gelu
        x = x + linear(hidden, state, f"{name}.mlp.fc2")
    x = norm(x, state, "norm", eps)
    return x @ state["proj"] if config.output_dim else x


def times_of(model: DividedTransformer, frames: int) -> Tensor | None:
    """Temporal positions as far as the table goes, then zeros."""
    if not model.config.time_attention:
        return None
    table = model.state_dict()["temporal_embed"][0]
    return torch.cat([table, torch.zeros_like(table), torch.zeros_like(table)])[:frames]


@pytest.mark.parametrize("frames", [3, 1, 2])
@pytest.mark.parametrize("kind", CONFIGS)
@torch.inference_mode()
def test_tokens_are_those_of_the_equations(kind: str, frames: int) -> None:
    model, batch = network(CONFIGS[kind]), clips(frames)
    spaces = model.state_dict()["pos_embed"][0]
    expected = torch.stack([restated(model, clip, spaces, times_of(model, frames)) for clip in batch])
    torch.testing.assert_close(model(batch), expected[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.tokens(batch), expected[:, 1:], rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_frames_beyond_the_table_get_no_position_as_in_frozen() -> None:
    model, batch = network(FROZEN), clips(5, batch=1)
    spaces = model.state_dict()["pos_embed"][0]
    expected = restated(model, batch[0], spaces, times_of(model, 5))
    torch.testing.assert_close(model.tokens(batch)[0], expected[1:], rtol=1e-9, atol=1e-9)
    assert model.adaptations(5, 12) == ("temporal positions after the 3 that there are: zero",)


@torch.inference_mode()
def test_a_table_that_may_be_stretched_is() -> None:
    model, batch = network(CLIP), clips(6, batch=1)
    state = model.state_dict()
    table = state["temporal_embed"][0]
    places = (torch.arange(6, dtype=torch.float64) + 0.5) / 2 - 0.5  # of the six new middles among the three old
    places = places.clamp(0, 2)
    low, share = places.floor().long(), (places % 1)[:, None]
    times = table[low] * (1 - share) + table[(low + 1).clamp(max=2)] * share
    expected = restated(model, batch[0], state["pos_embed"][0], times)
    torch.testing.assert_close(model.tokens(batch)[0], expected[1:], rtol=1e-9, atol=1e-9)
    assert model.adaptations(6, 12) == ("3 temporal positions resampled to 6, linear",)


@torch.inference_mode()
def test_another_resolution_resamples_the_grid_and_says_so() -> None:
    model, batch = network(FROZEN), clips(3, size=24, batch=1)
    table = model.state_dict()["pos_embed"][0]
    grid = table[1:].T.reshape(1, 32, 3, 3).float()  # resampled in single precision
    grid = F.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True).double()
    spaces = torch.cat([table[:1], grid[0].flatten(1).T])
    expected = restated(model, batch[0], spaces, times_of(model, 3))
    torch.testing.assert_close(model.tokens(batch)[0], expected[1:], rtol=1e-5, atol=1e-5)
    assert model.adaptations(3, 24) == ("position table of 3 x 3 resampled to 6 x 6, bicubic",)


def test_what_changes_nothing_is_not_said() -> None:
    assert DividedTransformer(FROZEN).adaptations(3, 12) == ()
    assert DividedTransformer(MCQ).adaptations(16, 12) == ()  # it has no temporal table
    assert DividedTransformer(FROZEN).adaptations(2, 12) == ("first 2 of 3 temporal positions used",)


@torch.inference_mode()
def test_without_temporal_parameters_frames_are_a_set() -> None:
    batch = clips(3)
    model = network(MCQ)
    torch.testing.assert_close(model(batch), model(batch.flip(2)))
    model = network(FROZEN)
    assert not torch.allclose(model(batch), model(batch.flip(2)), atol=1e-3)


def test_the_parameters_are_as_many_as_the_official_networks() -> None:
    counts = {
        DividedTransformerConfig(): 114_168_576,  # Frozen, MILES
        DividedTransformerConfig(time_attention=False): 85_798_656,  # MCQ
        DividedTransformerConfig(num_frames=12, clip=True, quick_gelu=True, output_dim=512): 114_568_704,  # TVTSv2 B/16
    }
    for config, count in counts.items():
        with torch.device("meta"):
            assert sum(parameter.numel() for parameter in DividedTransformer(config).parameters()) == count


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 2, 12, 13), "patches of 4 x 4 pixels, got 12 x 13: set the crop to a multiple of 4"),
        ((1, 3, 2, 0, 0), "got 0 x 0"),
        ((1, 3, 0, 12, 12), "clips must be"),
        ((3, 2, 12, 12), "clips must be"),
        ((1, 1, 2, 12, 12), "clips must be"),
    ],
)
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(DividedTransformerError, match=said):
        DividedTransformer(FROZEN)(torch.zeros(shape))


@pytest.mark.parametrize(("field", "value"), [("depth", 0), ("num_heads", 5), ("patch_size", 5)])
def test_impossible_sizes_are_refused(field: str, value: int) -> None:
    with pytest.raises(DividedTransformerError, match=f"{field}|multiple of {value}"):
        replace(FROZEN, **{field: value})  # type: ignore[arg-type]


def test_depths_of_parameters_rise_from_the_stem_to_the_projection() -> None:
    model = DividedTransformer(CLIP)
    depths = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert depths["cls_token"] == depths["norm_pre.weight"] == depths["patch_embed.proj.weight"] == 0
    assert depths["blocks.1.timeattn.qkv.weight"] == 2
    assert depths["norm.weight"] == depths["proj"] == 3


@torch.inference_mode()
def test_precision_may_be_lowered() -> None:
    model, batch = network(CLIP).float(), clips(3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(batch)
    assert F.cosine_similarity(low.float(), model(batch)).min() > 0.999
