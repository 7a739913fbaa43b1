"""V-JEPA 2 through the transformers library: its own class fed directly, and rotary positions by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.plain_layers import Weights, attend, layer_norm, linear, mlp
from tvts_bench.backbones.base import from_transformers
from tvts_bench.backbones.vjepa2 import FAMILY, VJEPA2, VJEPA2Config
from tvts_bench.models.video_network import VideoNetworkError

TOY = VJEPA2Config(width=64, depth=2, num_heads=2, mlp_dim=100, image_size=16, patch_size=8, num_frames=4)


def weights() -> dict[str, Tensor]:
    """By official names, none of them at a value that would hide a mistake."""
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        noise = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        return 1 + noise if len(shape) == 1 else noise

    state = {"patch_embed.proj.weight": made(64, 3, 2, 8, 8), "patch_embed.proj.bias": made(64)}
    for i in range(2):
        for name, (rows, columns) in {
            "attn.qkv": (192, 64),
            "attn.proj": (64, 64),
            "mlp.fc1": (100, 64),
            "mlp.fc2": (64, 100),
        }.items():
            state |= {f"blocks.{i}.{name}.weight": made(rows, columns), f"blocks.{i}.{name}.bias": made(rows)}
        for name in ("norm1", "norm2"):
            state |= {f"blocks.{i}.{name}.weight": made(64), f"blocks.{i}.{name}.bias": made(64)}
    return state | {"norm.weight": made(64), "norm.bias": made(64)}


def loaded(size: VJEPA2Config = TOY) -> VJEPA2:
    model = VJEPA2(size).double().eval()
    model.load_state_dict(FAMILY.converted(weights()))
    return model


def clips(frames: int = 4, size: int = 16) -> Tensor:
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Channels [N, C] turned by their position: channel c by the angle of c modulo C / 2, pairs are neighbours."""
    half = x.shape[1] // 2
    angles = torch.stack([positions / 10000 ** (c % half / half) for c in range(x.shape[1])], dim=1)
    partner = torch.stack([-x[:, c + 1] if c % 2 == 0 else x[:, c - 1] for c in range(x.shape[1])], dim=1)
    return x * angles.cos() + partner * angles.sin()


def plain(w: Weights, clip: Tensor) -> Tensor:
    """Tokens of one clip, from the equations."""
    steps, grid = clip.shape[1] // 2, clip.shape[2] // 8
    places = [(t, row, column) for t in range(steps) for row in range(grid) for column in range(grid)]
    cubes = [clip[:, 2 * t : 2 * t + 2, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8] for t, r, c in places]
    kernel = w["patch_embed.proj.weight"]
    x = torch.stack([(kernel * cube).sum((1, 2, 3, 4)) for cube in cubes]) + w["patch_embed.proj.bias"]
    axes = torch.tensor(places, dtype=x.dtype).T
    for i in range(2):
        own = {name.removeprefix(f"blocks.{i}."): t for name, t in w.items()}
        q, k, v = linear(layer_norm(x, own, "norm1"), own, "attn.qkv").chunk(3, dim=1)
        for part in (q, k):
            for head in range(2):  # 32 channels: 10 for each axis, 2 left alone
                for axis in range(3):
                    own_part = slice(32 * head + 10 * axis, 32 * head + 10 * axis + 10)
                    part[:, own_part] = rotated(part[:, own_part].clone(), axes[axis])
        x = x + linear(attend(q, k, v, 2), own, "attn.proj")
        x = x + mlp(layer_norm(x, own, "norm2"), own, "mlp")
    return layer_norm(x, w, "norm")


@pytest.mark.parametrize(("frames", "size"), [(4, 16), (2, 16), (8, 16), (4, 24)])
@torch.inference_mode()
def test_tokens_are_those_of_the_equations_at_any_length_and_size(frames: int, size: int) -> None:
    model, batch = loaded(), clips(frames, size)
    wanted = torch.stack([plain(weights(), clip) for clip in batch])
    torch.testing.assert_close(model.tokens(batch), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(batch), wanted.mean(1), rtol=1e-9, atol=1e-9)
    assert model.size.adaptations(frames, size) == ()


@torch.inference_mode()
def test_the_librarys_own_class_gives_the_same() -> None:
    config = from_transformers("VJEPA2Config")(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=100.5 / 64,
        crop_size=16,
        patch_size=8,
        frames_per_clip=4,
    )
    theirs = from_transformers("VJEPA2Model")(config).double().eval()
    missing, unexpected = theirs.load_state_dict(FAMILY.converted(weights()), strict=False)
    assert not unexpected
    assert all(name.startswith("predictor.") for name in missing)
    out = theirs(pixel_values_videos=clips().transpose(1, 2), skip_predictor=True)
    torch.testing.assert_close(loaded().tokens(clips()), out.last_hidden_state, rtol=0, atol=0)


def test_the_large_network_has_as_many_parameters_as_its_name_says() -> None:
    with torch.device("meta"):
        model = VJEPA2(replace(TOY, width=1024, depth=24, num_heads=16, mlp_dim=4096, patch_size=16))
    assert not [name for name, _ in model.named_parameters() if "predictor" in name]
    block = 12 * 1024**2 + 13 * 1024  # qkv, proj, MLP; their biases and two norms
    stem_and_norm = 1024 * (3 * 2 * 16 * 16 + 1) + 2 * 1024
    assert sum(parameter.numel() for parameter in model.parameters()) == 24 * block + stem_and_norm


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 3, 16, 16), "multiple of 2 frames, got 3"),
        ((1, 3, 4, 16, 24), "square frames here, got 16 x 24"),
        ((1, 3, 4, 12, 12), "multiple of 8"),
    ],
)
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(VideoNetworkError, match=said):
        VJEPA2(TOY)(torch.zeros(shape))


def test_depths_of_parameters_rise_from_the_stem_to_the_norm() -> None:
    model = VJEPA2(TOY)
    depths = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert depths["encoder.embeddings.patch_embeddings.proj.weight"] == 0
    assert depths["encoder.layer.1.attention.query.weight"] == 2
    assert depths["encoder.layernorm.weight"] == 3


def test_a_joint_projection_that_is_no_three_is_left_as_it_is() -> None:
    odd = torch.zeros(64, 192)
    assert "encoder.layer.0.attention.qkv.weight" in FAMILY.converted({"blocks.0.attn.qkv.weight": odd})
    assert math.prod(odd.shape) == sum(t.numel() for t in FAMILY.converted({"blocks.0.attn.qkv.weight": odd}).values())
