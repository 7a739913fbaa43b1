"""The divided space-time transformer against its equations, written token by token."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.plain_divided import FROZEN as FROZEN_NAMES
from tests.support.plain_divided import OURS_CLIP, Plain, resampled, tokens
from tvts_bench.models.divided_vit import DividedTransformer, DividedTransformerConfig
from tvts_bench.models.video_network import VideoNetworkError

FROZEN = DividedTransformerConfig(width=32, depth=2, num_heads=2, mlp_dim=96, image_size=12, patch_size=4, num_frames=3)
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


def expected(
    model: DividedTransformer, clip: Tensor, spaces: Tensor | None = None, times: Tensor | None = None
) -> Tensor:
    """All tokens of one clip, as the equations have them."""
    config = model.config
    plain = Plain(
        names=OURS_CLIP if config.clip else FROZEN_NAMES, has_time=config.time_attention, quick_gelu=config.quick_gelu
    )
    return tokens(model.state_dict(), plain, clip, spaces, times)


@pytest.mark.parametrize("frames", [3, 1, 2])
@pytest.mark.parametrize("kind", CONFIGS)
@torch.inference_mode()
def test_tokens_are_those_of_the_equations(kind: str, frames: int) -> None:
    model, batch = network(CONFIGS[kind]), clips(frames)
    wanted = torch.stack([expected(model, clip) for clip in batch])
    torch.testing.assert_close(model(batch), wanted[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.tokens(batch), wanted[:, 1:], rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_frames_beyond_the_table_get_no_position_as_in_frozen() -> None:
    model, batch = network(FROZEN), clips(5, batch=1)
    torch.testing.assert_close(model.tokens(batch)[0], expected(model, batch[0])[1:], rtol=1e-9, atol=1e-9)
    assert model.config.adaptations(5, 12) == ("temporal positions after the 3 that there are: zero",)


@torch.inference_mode()
def test_a_table_that_may_be_stretched_is() -> None:
    model, batch = network(CLIP), clips(6, batch=1)
    table = model.state_dict()["temporal_embed"][0]
    places = (torch.arange(6, dtype=torch.float64) + 0.5) / 2 - 0.5  # of the six new middles among the three old
    places = places.clamp(0, 2)
    low, share = places.floor().long(), (places % 1)[:, None]
    times = table[low] * (1 - share) + table[(low + 1).clamp(max=2)] * share
    wanted = expected(model, batch[0], times=times)
    torch.testing.assert_close(model.tokens(batch)[0], wanted[1:], rtol=1e-9, atol=1e-9)
    assert model.config.adaptations(6, 12) == ("3 temporal positions resampled to 6, linear",)


@torch.inference_mode()
def test_another_resolution_resamples_the_grid_and_says_so() -> None:
    model, batch = network(FROZEN), clips(3, size=24, batch=1)
    wanted = expected(model, batch[0], spaces=resampled(model.state_dict()["pos_embed"][0], 6))
    torch.testing.assert_close(model.tokens(batch)[0], wanted[1:], rtol=1e-5, atol=1e-5)
    assert model.config.adaptations(3, 24) == ("position table 3 x 3 resampled to 6 x 6, bicubic",)


def test_what_changes_nothing_is_not_said() -> None:
    assert DividedTransformer(FROZEN).config.adaptations(3, 12) == ()
    assert DividedTransformer(MCQ).config.adaptations(16, 12) == ()  # it has no temporal table
    assert DividedTransformer(FROZEN).config.adaptations(2, 12) == ("first 2 of 3 temporal positions used",)


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
    with pytest.raises(VideoNetworkError, match=said):
        DividedTransformer(FROZEN)(torch.zeros(shape))


@pytest.mark.parametrize(("field", "value"), [("depth", 0), ("num_heads", 5), ("patch_size", 5)])
def test_impossible_sizes_are_refused(field: str, value: int) -> None:
    with pytest.raises(VideoNetworkError, match=f"{field}|multiple of {value}"):
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
