"""TimeSformer through the transformers library against its equations, and what is done for other clips."""

import pytest
import torch
from torch import Tensor

from tests.support.plain_divided import timesformer_tokens
from tvts_bench.backbones._conversion.timesformer import RENAMED, TimeSformer, TimeSformerConfig
from tvts_bench.backbones.timesformer import FAMILY
from tvts_bench.models.video_network import VideoNetworkError

TOY = TimeSformerConfig(width=32, depth=2, num_heads=2, mlp_dim=48, image_size=12, patch_size=4, num_frames=3)


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """Weights by official names, none of them at a value that would hide a mistake."""
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        noise = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        return 1 + noise if len(shape) == 1 else noise

    state = {"cls_token": made(1, 1, 32), "pos_embed": made(1, 10, 32), "time_embed": made(1, 3, 32)}
    layers = {"attn.qkv": 96, "attn.proj": 32, "temporal_attn.qkv": 96, "temporal_attn.proj": 32, "temporal_fc": 32}
    for i in range(2):
        for name, width in layers.items():
            state |= {f"blocks.{i}.{name}.weight": made(width, 32), f"blocks.{i}.{name}.bias": made(width)}
        for name in ("norm1", "norm2", "temporal_norm1"):
            state |= {f"blocks.{i}.{name}.weight": made(32), f"blocks.{i}.{name}.bias": made(32)}
        state |= {f"blocks.{i}.mlp.fc1.weight": made(48, 32), f"blocks.{i}.mlp.fc1.bias": made(48)}
        state |= {f"blocks.{i}.mlp.fc2.weight": made(32, 48), f"blocks.{i}.mlp.fc2.bias": made(32)}
    state |= {"patch_embed.proj.weight": made(32, 3, 4, 4), "patch_embed.proj.bias": made(32)}
    return state | {"norm.weight": made(32), "norm.bias": made(32)}


@pytest.fixture(scope="module")
def network(official: dict[str, Tensor]) -> TimeSformer:
    model = TimeSformer(TOY).double().eval()
    model.load_state_dict(FAMILY.converted(official))
    return model


def clips(frames: int = 3, size: int = 12) -> Tensor:
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("frames", "size", "said"),
    [
        (3, 12, ()),
        (5, 12, ("3 temporal positions resampled to 5, nearest",)),
        (2, 12, ("3 temporal positions resampled to 2, nearest",)),
        (3, 20, ("position table 3 x 3 resampled to 5 x 5, nearest",)),
        (1, 8, ("position table 3 x 3 resampled to 2 x 2, nearest", "3 temporal positions resampled to 1, nearest")),
    ],
)
@torch.inference_mode()
def test_tokens_are_those_of_the_equations(
    network: TimeSformer, official: dict[str, Tensor], frames: int, size: int, said: tuple[str, ...]
) -> None:
    batch = clips(frames, size)
    wanted = torch.stack([timesformer_tokens(official, 2, clip) for clip in batch])
    torch.testing.assert_close(network(batch), wanted[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network.tokens(batch), wanted[:, 1:], rtol=1e-9, atol=1e-9)
    assert network.size.adaptations(frames, size) == said


@torch.inference_mode()
def test_clips_of_different_shapes_do_not_disturb_each_other(network: TimeSformer) -> None:
    first = network(clips())
    network(clips(5, 20))
    torch.testing.assert_close(network(clips()), first, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 3, 12, 10), "multiple of 4"),
        ((1, 3, 3, 4, 4), "two patches a row, so a crop of 8 or more, got 4"),
        ((1, 3, 0, 12, 12), "clips must be"),
    ],
)
def test_clips_that_do_not_fit_are_refused(network: TimeSformer, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(VideoNetworkError, match=said):
        network(torch.zeros(shape))


def test_the_base_network_has_as_many_parameters_as_the_official_one() -> None:
    with torch.device("meta"):
        model = TimeSformer(TimeSformerConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 121_258_752


def test_depths_of_parameters_rise_from_the_stem_to_the_norm(network: TimeSformer) -> None:
    depths = {name: network.layer_of(name) for name, _ in network.named_parameters()}
    assert set(depths.values()) == {0, 1, 2, 3}
    assert [name for name, depth in depths.items() if depth == 3] == [
        "timesformer.layernorm.weight",
        "timesformer.layernorm.bias",
    ]
    assert all(depth == 0 for name, depth in depths.items() if ".embeddings." in name)


def test_every_rule_of_renaming_is_needed(official: dict[str, Tensor]) -> None:
    assert all(any(old in name or name.startswith(old) for name in official) for old, _ in RENAMED)
