"""What a backbone takes, against counts worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from tvts_bench import ClipSpec, as_backbone, load_backbone
from tvts_bench.backbones.base import cost_of

CLIP = ClipSpec(num_frames=4, short_side=8, crop=8)


class Net(nn.Module):
    """One convolution of 8 x 8 pixels over two frames, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv3d(3, 5, (2, 8, 8), stride=(2, 8, 8)), nn.Linear(5, 7)

    def forward(self, clips: Tensor) -> Tensor:
        embedded: Tensor = self.linear(self.conv(clips).flatten(2).mean(2))
        return embedded


class Looking(Net):
    """Its way depends on values."""

    def forward(self, clips: Tensor) -> Tensor:
        return super().forward(clips if clips.sum() > 0 else -clips)


def test_multiply_adds_are_those_of_products_and_convolutions() -> None:
    cost = cost_of(as_backbone(Net(), "net", CLIP), CLIP)
    weights = 5 * 3 * 2 * 8 * 8
    assert cost["parameters"] == weights + 5 + 5 * 7 + 7
    assert cost["gmacs_per_clip"] == pytest.approx((2 * weights + 5 * 7) / 1e9)  # two pairs of frames


def test_views_count_each() -> None:
    backbone = as_backbone(Net(), "net", CLIP)
    twice = ClipSpec(num_frames=4, short_side=8, crop=8, temporal_views=2)
    assert cost_of(backbone, twice)["gmacs_per_clip"] == pytest.approx(2 * cost_of(backbone, CLIP)["gmacs_per_clip"])


def test_a_network_that_looks_at_values_has_parameters_alone() -> None:
    cost = cost_of(as_backbone(Looking(), "net", CLIP), CLIP)
    assert cost["gmacs_per_clip"] is None
    assert cost["parameters"] > 0


def test_nothing_is_changed_by_counting() -> None:
    backbone = load_backbone("tvts:tiny")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone.train()
    assert cost_of(backbone, backbone.clip_spec)["gmacs_per_clip"] > 0
    assert backbone.training
    for name, tensor in backbone.state_dict().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, before[name])


def test_without_weights_there_is_nothing_to_count() -> None:
    backbone = load_backbone("pixels")
    assert cost_of(backbone, backbone.clip_spec) == {"parameters": 0, "gmacs_per_clip": 0.0}
