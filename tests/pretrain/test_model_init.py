"""The start from an MAE file, with files of its layout written here."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pretrain.model.init import inflated, load_mae
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

CONFIG = VideoTransformerConfig(embed_dim=8, depth=2, num_heads=2, image_size=8, patch_size=4, num_frames=4)


def mae_tensors() -> dict[str, Tensor]:
    """An image encoder's tensors, random: those of the video encoder without time."""
    state = VideoTransformer.seeded(CONFIG, seed=5).state_dict()
    state.pop("temporal_embed")
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :, 0].contiguous()
    return state


def written(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save({"model": tensors}, path)
    return path


def model() -> VideoTransformer:
    network = VideoTransformer.seeded(CONFIG, seed=0)
    torch.nn.init.normal_(network.temporal_embed)
    return network


def test_the_kernel_is_repeated_and_not_divided() -> None:
    kernel = torch.arange(12.0).reshape(1, 3, 2, 2)
    both = inflated(kernel, 2)
    assert both.shape == (1, 3, 2, 2, 2)
    assert torch.equal(both[:, :, 0], kernel)
    assert torch.equal(both[:, :, 1], kernel)


def test_all_weights_arrive_and_time_starts_at_zero(tmp_path: Path) -> None:
    source, network = mae_tensors(), model()
    report = load_mae(network, written(tmp_path / "mae.pth", source))
    state = network.state_dict()
    kernel = source.pop("patch_embed.proj.weight")
    assert all(torch.equal(state[name], tensor) for name, tensor in source.items())
    assert torch.equal(state["patch_embed.proj.weight"][:, :, 1], kernel)
    assert not state["temporal_embed"].any()
    assert report.used == len(state)
    assert report.missing == ()


def test_a_still_clip_responds_twice_as_strongly_as_its_image(tmp_path: Path) -> None:
    source, network = mae_tensors(), model()
    load_mae(network, written(tmp_path / "mae.pth", source))
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    as_image = torch.nn.functional.conv2d(image, source["patch_embed.proj.weight"], stride=4).flatten(2).mT
    tokens = network.patch_embed(image[:, :, None].expand(-1, -1, 2, -1, -1)) - network.patch_embed.proj.bias
    assert torch.allclose(tokens, 2 * as_image, atol=1e-6)


def test_the_decoder_of_the_full_file_is_reported_and_left_out(tmp_path: Path) -> None:
    more = {"mask_token": torch.zeros(1, 1, 4), "decoder_embed.weight": torch.zeros(4, 8)}
    report = load_mae(model(), written(tmp_path / "full.pth", mae_tensors() | more))
    assert set(report.unexpected) == set(more)


@pytest.mark.parametrize("broken", ["missing", "unknown", "shape", "video", "other"])
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(broken: str, tmp_path: Path) -> None:
    tensors = mae_tensors()
    if broken == "missing":
        tensors.pop("blocks.1.mlp.fc2.bias")
    elif broken == "unknown":
        tensors["head.weight"] = torch.zeros(10, 8)
    elif broken == "shape":
        tensors["pos_embed"] = torch.zeros(1, 10, 8)
    elif broken == "video":
        tensors = model().state_dict()
    else:
        tensors = {"weight": torch.zeros(3)}
    network = model()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"mae\.pth"):
        load_mae(network, written(tmp_path / "mae.pth", tensors))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_missing_weights_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.pth.*mae_pretrain_vit_base\.pth"):
        load_mae(model(), tmp_path / "nothing.pth")
