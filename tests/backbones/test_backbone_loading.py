"""Backbones by name, and what every one of them promises."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tvts_bench import registry
from tvts_bench.backbones.base import BackboneError, as_embedding
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.models.saving import save_backbone
from tvts_bench.models.vit import VideoTransformer
from tvts_bench.registry import UnknownNameError

# Base-sized networks take seconds here; their shape is tested in tests/models.
NAMES = [
    f"{name}:tiny" if "tiny" in registry.load("backbones", name).VARIANTS else name
    for name in registry.names("backbones")
    if name != "transformers"  # has no network of its own: it needs a folder, see its own tests
]


@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_keeps_the_contract(name: str) -> None:
    backbone = load_backbone(name)
    spec = backbone.clip_spec
    clips = torch.randn(2, 3, spec.num_frames, spec.crop, spec.crop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        both = as_embedding(backbone(clips), backbone, 2)
        one = backbone(clips[1:])
    assert both.dtype == torch.float32
    assert bool(torch.isfinite(both).all())
    torch.testing.assert_close(both[1:], one)  # a clip's embedding does not depend on its batch
    assert backbone.family == name.split(":")[0]
    assert backbone.variant in registry.load("backbones", backbone.family).VARIANTS
    assert len(backbone.weights.sha256) == 64
    assert not backbone.training


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
    with pytest.raises(UnknownNameError, match="did you mean tvts"):
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
