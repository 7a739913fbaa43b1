"""Backbones by name, and what every one of them promises."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tvts_bench.backbones.base import BackboneError, as_embedding
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.errors import UserError
from tvts_bench.models.saving import save_backbone
from tvts_bench.models.vit import VideoTransformer


def test_pixels_are_mean_colours_of_a_grid() -> None:
    clips = torch.zeros(1, 3, 2, 16, 16)
    clips[0, 1, 0, :2, 2:4] = 4.0  # green, first of two frames, first row, second cell
    embedding = load_backbone("pixels")(clips).reshape(3, 8, 8)
    assert embedding[1, 0, 1] == 2.0
    assert embedding.sum() == 2.0


def test_pixels_do_not_see_the_order_of_frames() -> None:
    clips = torch.randn(1, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone = load_backbone("pixels")
    torch.testing.assert_close(backbone(clips), backbone(clips.flip(2)))


def test_pixels_have_no_weights_tokens_or_layers(tmp_path: Path) -> None:
    backbone = load_backbone("pixels")
    assert (backbone.weights.name, backbone.embed_dim) == ("no weights", 192)
    with pytest.raises(BackboneError, match="no patch tokens"):
        backbone.tokens(torch.zeros(1, 3, 16, 32, 32))
    with pytest.raises(BackboneError, match="no layers"):
        backbone.layer_of("w")
    torch.save({"w": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(BackboneError, match=r"pixels has no weights to load: leave out .*x\.pth"):
        load_backbone("pixels", tmp_path / "x.pth")


def test_names_that_are_not_there_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean tvts"):
        load_backbone("tvst")
    with pytest.raises(
        BackboneError, match=r"no variant 'base1' \(did you mean base\?\); there are: base, small, tiny"
    ):
        load_backbone("tvts:base1")
    with pytest.raises(BackboneError, match="name a backbone"):
        load_backbone()


def test_a_module_that_returns_something_else_is_told_what_it_returned() -> None:
    backbone = load_backbone("pixels")
    returned: list[tuple[object, str]] = [
        (torch.zeros(2, 5), r"\(2, 5\)"),
        ((torch.zeros(2, 192),), "tuple"),
        (nn.Identity(), "Identity"),
    ]
    for output, said in returned:
        with pytest.raises(BackboneError, match=said):
            as_embedding(output, backbone, 2)
    good: Tensor = torch.zeros(2, 192)
    assert as_embedding(good, backbone, 2) is good


def test_paths_may_be_strings(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_backbone(path, VideoTransformer.seeded(SIZES["tiny"], 0))
    assert load_backbone(checkpoint=str(path)).weights.sha256 == load_backbone("tvts", path).weights.sha256
