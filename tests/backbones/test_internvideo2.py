"""InternVideo2's encoder against its equations."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.plain_internvideo2 import restated
from tvts_bench.backbones.internvideo2 import InternVideo2, InternVideo2Config
from tvts_bench.models.video_network import VideoNetworkError

TOY = InternVideo2Config(
    width=32, depth=2, num_heads=2, mlp_dim=48, image_size=8, patch_size=4, num_frames=3, output_dim=32
)


def network() -> InternVideo2:
    """No parameter at a value that would hide a mistake."""
    model = InternVideo2(TOY).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + 0.3 * noise if parameter.ndim == 1 else 0.3 * noise)
    return model


def clips(frames: int = 3, size: int = 8) -> Tensor:
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.inference_mode()
def test_tokens_and_embedding_are_those_of_the_equations() -> None:
    model, batch = network(), clips()
    expected = [restated(model.state_dict(), clip, model.state_dict()["pos_embed"][0]) for clip in batch]
    torch.testing.assert_close(model.tokens(batch), torch.stack([x[1:] for x, _ in expected]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(batch), torch.stack([pooled for _, pooled in expected]), rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_another_input_resamples_the_table_and_says_so() -> None:
    model, batch = network(), clips(frames=2, size=12)
    table = model.state_dict()["pos_embed"]
    cube = table[:, 1:].reshape(1, 3, 2, 2, 32).permute(0, 4, 1, 2, 3)
    cube = torch.stack([3 * cube[:, :, 0] + cube[:, :, 1], cube[:, :, 1] + 3 * cube[:, :, 2]], dim=2) / 4  # by hand
    cube = F.interpolate(cube[0].transpose(0, 1), size=(3, 3), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 18, 32)
    _, expected = restated(model.state_dict(), batch[0], torch.cat([table[:, :1], cube], dim=1)[0])
    torch.testing.assert_close(model(batch)[0], expected, rtol=1e-9, atol=1e-9)
    assert model.config.adaptations(2, 12) == (
        "position table 3 x 2 x 2 resampled to 2 x 3 x 3, linear in time, bicubic in space",
    )
    assert model.config.adaptations(3, 8) == ()


def test_the_trunks_have_as_many_parameters_as_published() -> None:
    sizes = {
        InternVideo2Config(width=384, num_heads=6, mlp_dim=1536): 22,
        InternVideo2Config(): 87,
        InternVideo2Config(width=1024, depth=24, num_heads=16, mlp_dim=4096): 305,
        InternVideo2Config(width=1408, depth=40, num_heads=16, mlp_dim=6144): 1014,
    }
    for config, millions in sizes.items():
        with torch.device("meta"):
            model = InternVideo2(config)
        pool = sum(parameter.numel() for parameter in model.clip_projector.parameters())
        assert round((sum(parameter.numel() for parameter in model.parameters()) - pool) / 1e6) == millions


def test_the_order_of_frames_matters() -> None:
    model, batch = network(), clips()
    assert not torch.allclose(model(batch), model(batch.flip(2)), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 3, 8, 9), "patches of 4 x 4 pixels, got 8 x 9: set the crop to a multiple of 4"),
        ((1, 3, 0, 8, 8), "clips must be"),
        ((3, 3, 8, 8), "clips must be"),
        ((1, 4, 3, 8, 8), "clips must be"),
    ],
)
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(VideoNetworkError, match=said):
        InternVideo2(TOY)(torch.zeros(shape))


@pytest.mark.parametrize(("field", "value"), [("width", 40), ("num_heads", 3), ("patch_size", 5)])
def test_impossible_sizes_are_refused(field: str, value: int) -> None:
    with pytest.raises(VideoNetworkError, match="must be a multiple of"):
        replace(TOY, **{field: value})


def test_depths_of_parameters_rise_from_the_stem_to_the_pool() -> None:
    model = InternVideo2(TOY)
    depths = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert depths["pos_embed"] == depths["patch_embed.proj.weight"] == 0
    assert depths["blocks.1.ls2.gamma"] == 2
    assert depths["clip_projector.cross_attn.q_bias"] == 3
