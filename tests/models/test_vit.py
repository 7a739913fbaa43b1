"""The encoder against a plain recomputation of it, and its contract at the edges."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.plain_layers import block, layer_norm
from tvts_bench.models.video_network import VideoNetworkError
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

TINY = VideoTransformerConfig(embed_dim=128, depth=4, num_heads=4, image_size=32, patch_size=8)
SMALL = VideoTransformerConfig(embed_dim=384, num_heads=6)


def random_network(config: VideoTransformerConfig) -> VideoTransformer:
    """Every parameter random, also those that start at zero or one, so that none can be forgotten unnoticed."""
    model = VideoTransformer.empty(config).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.01, std=0.05, generator=generator)
    return model


def random_clips(config: VideoTransformerConfig, batch: int = 1, frames: int | None = None) -> Tensor:
    shape = (batch, 3, frames or config.num_frames, config.image_size, config.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def recomputed(model: VideoTransformer, clips: Tensor, keep: Tensor | None = None) -> Tensor:
    """The official forward pass in plain operations: convolution, positions, then dropping, then blocks."""
    w, config = model.state_dict(), model.config
    kernel = (config.tubelet, config.patch_size, config.patch_size)
    x = torch.nn.functional.conv3d(clips, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=kernel)
    x = x.flatten(2).transpose(1, 2)
    tubelets, patches = clips.shape[2] // config.tubelet, config.grid**2
    for t in range(tubelets):
        for p in range(patches):
            x[:, t * patches + p] += w["pos_embed"][:, 1 + p] + w["temporal_embed"][:, t]
    if keep is not None:
        x = torch.stack([x[i, keep[i]] for i in range(len(x))])
    x = torch.cat([(w["cls_token"] + w["pos_embed"][:, :1]).repeat(len(x), 1, 1), x], 1)
    for i in range(config.depth):
        x = block(x, w, f"blocks.{i}", config.num_heads)
    return layer_norm(x, w, "norm")


@pytest.mark.parametrize(("config", "frames"), [(TINY, 16), (TINY, 6), (SMALL, 2)])
def test_outputs_equal_a_plain_recomputation(config: VideoTransformerConfig, frames: int) -> None:
    model, clips = random_network(config), random_clips(config, batch=2, frames=frames)
    with torch.inference_mode():
        torch.testing.assert_close(model(clips), recomputed(model, clips), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames", [16, 6])
def test_the_embedding_is_the_first_token(frames: int) -> None:
    model, clips = random_network(TINY), random_clips(TINY, batch=2, frames=frames)
    with torch.inference_mode():
        torch.testing.assert_close(model.embed(clips), recomputed(model, clips)[:, 0], atol=1e-5, rtol=1e-4)


def test_the_embedding_has_the_gradients_of_the_first_token() -> None:
    model, clips = random_network(TINY).double(), random_clips(TINY, frames=4).double()
    gradients = []
    for output in (model(clips)[:, 0], model.embed(clips)):
        model.zero_grad()
        output.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)


@pytest.mark.parametrize(("config", "frames", "kept"), [(TINY, 16, 32), (SMALL, 4, 2 * 49)])
def test_dropping_patches_equals_dropping_their_tokens(config: VideoTransformerConfig, frames: int, kept: int) -> None:
    model, clips = random_network(config), random_clips(config, batch=2, frames=frames)
    patches = frames // config.tubelet * config.grid**2
    generator = torch.Generator().manual_seed(1)
    keep = torch.stack([torch.randperm(patches, generator=generator)[:kept] for _ in range(2)])
    with torch.inference_mode():
        torch.testing.assert_close(model(clips, keep), recomputed(model, clips, keep), atol=1e-5, rtol=1e-4)


def test_keeping_all_patches_changes_nothing() -> None:
    model, clips = random_network(TINY), random_clips(TINY)
    everything = torch.arange(TINY.num_patches)[None]
    with torch.inference_mode():
        torch.testing.assert_close(model(clips, everything), model(clips))


def test_pixels_of_dropped_patches_cannot_reach_the_output() -> None:
    model, clips = random_network(TINY), random_clips(TINY)
    changed = clips.clone()
    changed[:, :, :, :8, :8] = math.nan  # patch 0 of every frame
    keep = torch.tensor([[i for i in range(TINY.num_patches) if i % 16 != 0]])
    with torch.inference_mode():
        torch.testing.assert_close(model(changed, keep), model(clips, keep))


def test_gradients_reach_every_parameter_through_kept_patches() -> None:
    model = random_network(replace(TINY, depth=2))
    keep = torch.arange(0, TINY.num_patches, 2)[None]
    model(random_clips(TINY), keep)[:, 0].square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_names_and_shapes_are_those_of_the_official_file() -> None:
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in VideoTransformer.empty(VideoTransformerConfig()).state_dict().items()
    }
    expected: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 768),
        "pos_embed": (1, 197, 768),
        "temporal_embed": (1, 8, 768),
        "patch_embed.proj.weight": (768, 3, 2, 16, 16),
        "patch_embed.proj.bias": (768,),
        "norm.weight": (768,),
        "norm.bias": (768,),
    }
    for i in range(12):
        for norm in ("norm1", "norm2"):
            expected |= {f"blocks.{i}.{norm}.{part}": (768,) for part in ("weight", "bias")}
        for name, out, into in (
            ("attn.qkv", 2304, 768),
            ("attn.proj", 768, 768),
            ("mlp.fc1", 3072, 768),
            ("mlp.fc2", 768, 3072),
        ):
            expected |= {f"blocks.{i}.{name}.weight": (out, into), f"blocks.{i}.{name}.bias": (out,)}
    assert shapes == expected
    assert len(shapes) == 151


def test_initialisation_depends_on_the_seed_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, again, other = (VideoTransformer.seeded(TINY, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["pos_embed"], other["pos_embed"])
    assert first["temporal_embed"].abs().max() == 0
    assert first["blocks.0.mlp.fc1.weight"].std() == pytest.approx(0.02, rel=0.05)


def test_outputs_of_a_seeded_network_do_not_drift(golden: Callable[[str, Any], Any]) -> None:
    model, clips = VideoTransformer.seeded(TINY, 0).eval(), random_clips(TINY)
    with torch.inference_mode():
        tokens = model(clips)[0]
    computed = {
        "cls": [round(float(x), 6) for x in tokens[0, :16]],
        "mean": [round(float(x), 6) for x in tokens.mean(0)[:16]],
    }
    stored = golden("vit_tiny.json", computed)
    assert computed["cls"] == pytest.approx(stored["cls"], abs=1e-4)
    assert computed["mean"] == pytest.approx(stored["mean"], abs=1e-4)


def test_shorter_clips_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = random_network(TINY)
    with caplog.at_level(logging.WARNING):
        for frames in (16, 4, 4):
            model(random_clips(TINY, frames=frames))
    assert len(caplog.records) == 1
    assert "first 2 of 8 temporal embeddings" in caplog.text


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 15, 32, 32), "multiple of 2 frames up to 16, got 15"),
        ((1, 3, 18, 32, 32), "up to 16, got 18"),
        ((1, 3, 0, 32, 32), "got 0"),
        ((1, 3, 16, 32, 40), "32 x 32 pixels, got 32 x 40"),
        ((1, 16, 3, 32, 32), "[1, 16, 3, 32, 32]"),
        ((3, 16, 32, 32), "[3, 16, 32, 32]"),
    ],
)
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(VideoNetworkError) as caught:
        VideoTransformer.seeded(TINY, 0)(torch.zeros(shape))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "nonsense", [{"depth": 0}, {"num_heads": 5}, {"patch_size": 15}, {"num_frames": 15}, {"drop_path": 1.0}]
)
def test_impossible_sizes_are_refused(nonsense: dict[str, Any]) -> None:
    with pytest.raises(VideoNetworkError, match=str(next(iter(nonsense.values())))):
        replace(TINY, **nonsense)


def test_layers_count_from_the_stem_to_the_norm() -> None:
    model = VideoTransformer.empty(TINY)
    layers = {name: model.layer_of(name) for name in model.state_dict()}
    assert {layers[name] for name in ("cls_token", "pos_embed", "temporal_embed", "patch_embed.proj.weight")} == {0}
    assert (layers["blocks.0.norm1.weight"], layers["blocks.3.mlp.fc2.bias"], layers["norm.bias"]) == (1, 4, 5)


def test_drop_path_rises_to_the_last_block_and_is_off_in_evaluation() -> None:
    model = VideoTransformer.seeded(replace(TINY, drop_path=0.3), 0)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    clips = random_clips(TINY)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(clips), VideoTransformer.seeded(TINY, 0).eval()(clips))
