"""The joint ViT against a plain recomputation of it, and its positions against those of the official code."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.plain_layers import block, layer_norm
from tvts_bench.models.joint_vit import JointViT, JointViTConfig, resampled, sinusoid
from tvts_bench.models.video_network import VideoNetworkError

TOY = JointViTConfig(embed_dim=64, depth=2, num_heads=4, mlp_dim=96, image_size=32, patch_size=8)
UMT = replace(TOY, num_frames=8, tubelet=1, resampling="bicubic_linear")
VJEPA = replace(TOY, positions="stored", resampling="trilinear", pooling="mean_of_norm")


def random_network(config: JointViTConfig) -> JointViT:
    """Every tensor random, so that none can be forgotten unnoticed."""
    model = JointViT(config).eval()
    generator = torch.Generator().manual_seed(3)
    for tensor in model.state_dict().values():
        torch.nn.init.normal_(tensor, mean=0.01, std=0.05, generator=generator)
    return model


def random_clips(frames: int = 16, size: int = 32) -> Tensor:
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(7))


def recomputed(model: JointViT, clips: Tensor, positions: Tensor) -> Tensor:
    """The official forward pass in plain operations."""
    w, config = model.state_dict(), model.config
    kernel = (config.tubelet, config.patch_size, config.patch_size)
    x = F.conv3d(clips, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=kernel)
    x = x.flatten(2).transpose(1, 2) + positions
    for i in range(config.depth):
        x = block(x, w, f"blocks.{i}", config.num_heads)
    norm = "norm" if config.affine_norm else None
    return layer_norm(x.mean(1), w, norm) if config.pooling == "norm_of_mean" else layer_norm(x, w, norm).mean(1)


@pytest.mark.parametrize(
    "config",
    [TOY, replace(TOY, affine_norm=False), replace(TOY, pooling="mean_of_norm"), UMT],
    ids=["fine-tuned", "pretrained", "token norm", "umt"],
)
def test_outputs_equal_a_plain_recomputation(config: JointViTConfig) -> None:
    model, clips = random_network(config), random_clips(config.num_frames)
    with torch.inference_mode():
        expected = recomputed(model, clips, sinusoid(math.prod(config.grid), 64))
        torch.testing.assert_close(model(clips), expected, atol=1e-5, rtol=1e-4)


def test_stored_positions_are_used_as_they_are() -> None:
    model, clips = random_network(VJEPA), random_clips()
    with torch.inference_mode():
        expected = recomputed(model, clips, model.state_dict()["pos_embed"])
        torch.testing.assert_close(model(clips), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [TOY, VJEPA])
def test_the_embedding_is_the_mean_of_tokens_with_the_norm_before_or_after(config: JointViTConfig) -> None:
    model, clips = random_network(config), random_clips()
    with torch.inference_mode():
        tokens = model.tokens(clips)
        mean = tokens.mean(1)
        torch.testing.assert_close(model(clips), model.norm(mean) if config is TOY else mean)
    assert tokens.shape == (2, 8 * 16, 64)


def test_half_precision_changes_little() -> None:
    model, clips = random_network(TOY), random_clips()
    with torch.inference_mode():
        exact = model(clips)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.tokens(clips).dtype == torch.float32  # what is added up stays precise
            rounded = model(clips)
    assert F.cosine_similarity(exact, rounded.float()).min() > 0.999


def test_sinusoids_by_hand() -> None:
    table = sinusoid(3, 4)
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    np.testing.assert_allclose(table[0], expected, atol=1e-7)


@pytest.mark.parametrize(("frames", "size"), [(8, 32), (16, 48), (32, 16)])
def test_sinusoids_of_other_clips_are_those_of_their_own_length(frames: int, size: int) -> None:
    model, clips = random_network(TOY), random_clips(frames, size)
    with torch.inference_mode():
        expected = recomputed(model, clips, sinusoid(frames // 2 * (size // 8) ** 2, 64))
        torch.testing.assert_close(model(clips), expected, atol=1e-5, rtol=1e-4)


def test_time_is_resampled_linearly_token_by_token() -> None:
    table = torch.randn(1, 2 * 3 * 4, 5, generator=torch.Generator().manual_seed(0))
    got = resampled(table, (2, 3, 4), (4, 3, 4), how="bicubic_linear").reshape(4, 12, 5)
    first, second = table.reshape(2, 12, 5)
    # Corners not aligned: new centres at 0.25, 0.75, 1.25, 1.75 of old cells, clamped at both ends.
    expected = [first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, second]
    torch.testing.assert_close(got, torch.stack(expected))


def test_space_is_resampled_frame_by_frame_and_before_time() -> None:
    table = torch.randn(1, 2 * 4 * 4, 5, generator=torch.Generator().manual_seed(0))
    frames = [
        F.interpolate(frame.reshape(1, 4, 4, 5).permute(0, 3, 1, 2), size=(6, 6), mode="bicubic")
        for frame in table.reshape(2, 16, 5)
    ]
    first, second = (frame.permute(0, 2, 3, 1).reshape(36, 5) for frame in frames)
    got = resampled(table, (2, 4, 4), (2, 6, 6), how="bicubic_linear")
    torch.testing.assert_close(got[0], torch.cat([first, second]))
    got = resampled(table, (2, 4, 4), (1, 6, 6), how="bicubic_linear")
    torch.testing.assert_close(got[0], (first + second) / 2)


def test_trilinear_resampling_keeps_a_ramp_a_ramp() -> None:
    t, h, w = torch.meshgrid(*(torch.arange(n).double() for n in (4, 6, 6)), indexing="ij")
    ramp = (2 * t + 3 * h + 5 * w).reshape(1, -1, 1)
    got = resampled(ramp, (4, 6, 6), (2, 3, 3), how="trilinear").reshape(2, 3, 3)
    centres = [[2 * i + 0.5 for i in range(n)] for n in (2, 3, 3)]  # of the coarse cells, in fine ones
    t, h, w = torch.meshgrid(*(torch.tensor(c).double() for c in centres), indexing="ij")
    torch.testing.assert_close(got, 2 * t + 3 * h + 5 * w)


@pytest.mark.parametrize("config", [UMT, VJEPA], ids=["umt", "v-jepa"])
def test_networks_with_a_table_resample_it_for_other_clips(config: JointViTConfig) -> None:
    model, clips = random_network(config), random_clips(4, 48)
    native = model.state_dict()["pos_embed"] if config is VJEPA else sinusoid(8 * 16, 64)
    wanted = (4 // config.tubelet, 6, 6)
    with torch.inference_mode():
        positions = resampled(native, config.grid, wanted, how=config.resampling)
        torch.testing.assert_close(model(clips), recomputed(model, clips, positions), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "frames", "size", "said"),
    [
        (TOY, 16, 32, None),
        (TOY, 8, 32, "sinusoid positions computed for 4 x 4 x 4 tokens (time x rows x columns) in place of 8 x 4 x 4"),
        (UMT, 16, 32, "position table 8 x 4 x 4 (time x rows x columns) resampled to 16 x 4 x 4, linear in time"),
        (UMT, 8, 16, "position table 8 x 4 x 4 (time x rows x columns) resampled to 8 x 2 x 2, bicubic in space"),
        (UMT, 4, 16, "resampled to 4 x 2 x 2, bicubic in space and linear in time"),
        (VJEPA, 16, 64, "position table 8 x 4 x 4 (time x rows x columns) resampled to 8 x 8 x 8, trilinear"),
    ],
)
def test_what_is_adapted_is_said(config: JointViTConfig, frames: int, size: int, said: str | None) -> None:
    sentences = config.adaptations(frames, size)
    assert len(sentences) == (said is not None)
    assert said is None or said in sentences[0]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 15, 32, 32), "multiple of 2 frames, got 15"),
        ((1, 3, 0, 32, 32), "got 0"),
        ((1, 3, 16, 32, 36), "multiples of 8 pixels, got 32 x 36"),
        ((1, 16, 3, 32, 32), "[1, 16, 3, 32, 32]"),
        ((3, 16, 32, 32), "[3, 16, 32, 32]"),
    ],
)
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(VideoNetworkError) as caught:
        random_network(TOY)(torch.zeros(shape))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "nonsense", [{"depth": 0}, {"num_heads": 5}, {"patch_size": 15}, {"num_frames": 15}, {"positions": "stored"}]
)
def test_impossible_sizes_are_refused(nonsense: dict[str, Any]) -> None:
    with pytest.raises(VideoNetworkError, match=str(next(iter(nonsense.values())))):
        replace(TOY, **nonsense)


def test_the_giant_has_the_hidden_width_that_its_ratio_means() -> None:
    giant = JointViTConfig(embed_dim=1408, depth=1, num_heads=16, mlp_dim=1408 * 48 // 11, patch_size=14)
    assert giant.grid == (8, 16, 16)
    with torch.device("meta"):
        assert JointViT(giant).blocks[0].mlp.fc1.out_features == 6144  # type: ignore[union-attr]


def test_positions_are_no_parameters() -> None:
    assert "pos_embed" not in dict(JointViT(VJEPA).named_parameters())
    assert "pos_embed" in JointViT(VJEPA).state_dict()
    assert not any("pos" in name for name in JointViT(TOY).state_dict())


def test_layers_count_from_the_stem_to_the_norm() -> None:
    model = JointViT(TOY)
    layers = {name: model.layer_of(name) for name in model.state_dict()}
    assert (layers["patch_embed.proj.bias"], layers["blocks.0.norm1.weight"]) == (0, 1)
    assert (layers["blocks.1.mlp.fc2.bias"], layers["norm.weight"]) == (2, 3)
