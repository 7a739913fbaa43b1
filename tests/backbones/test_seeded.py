"""Networks from a seed, and networks that become backbones by their fields."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tvts_bench.backbones._builder import random_weights
from tvts_bench.backbones.base import BackboneError, NetworkBackbone, WeightSource
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.state_dict import build_for, seeded
from tvts_bench.video.spec import ClipSpec

SPEC = ClipSpec(num_frames=2, short_side=4, crop=4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 5)

    def forward(self, clips: Tensor) -> Tensor:
        return self.tokens(clips).mean(1)

    def tokens(self, clips: Tensor) -> Tensor:
        return self.out(clips.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]


def test_a_seed_is_all_that_decides_and_nothing_else_changes() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = seeded(Net, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.training
    torch.rand(7)
    again, other = seeded(Net, 4), seeded(Net, 5)
    assert torch.equal(first.out.weight, again.out.weight)
    assert not torch.equal(first.out.weight, other.out.weight)
    source = random_weights(Net, 4)[1]
    assert source == random_weights(Net, 4)[1]
    assert source.name == "random init (seed 4)"
    assert source.sha256 != random_weights(Net, 5)[1].sha256


def test_a_network_is_built_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        assert seeded(Net, 0).out.weight.device.type == "cpu"


def test_the_random_state_is_restored_also_when_building_fails() -> None:
    before = torch.get_rng_state()

    def broken() -> nn.Module:
        torch.rand(3)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        seeded(broken, 1)
    assert torch.equal(torch.get_rng_state(), before)


def adapted(net: Net, *, hooked: bool) -> NetworkBackbone:
    return NetworkBackbone(
        network=net,
        family="mine",
        variant="tiny",
        embed_dim=5,
        clip_spec=SPEC,
        weights=WeightSource(name="none", sha256=""),
        tokens=net.tokens if hooked else None,
        layer_of=(lambda name: {"out.weight": 7, "out.bias": 8}[name]) if hooked else None,
        adaptations=(lambda clip: (f"{clip.num_frames} frames",)) if hooked else None,
    )


def test_hooks_are_used_where_given() -> None:
    backbone = adapted(seeded(Net, 0), hooked=True)
    clips = torch.randn(2, 3, 2, 4, 4)
    torch.testing.assert_close(backbone.tokens(clips).mean(1), backbone(clips))
    assert [backbone.layer_of(name) for name, _ in backbone.named_parameters()] == [7, 8]
    assert backbone.adaptations(SPEC) == ("2 frames",)


def test_without_hooks_a_backbone_refuses_as_any_other() -> None:
    backbone = adapted(seeded(Net, 0), hooked=False)
    with pytest.raises(BackboneError, match="mine has no patch tokens"):
        backbone.tokens(torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(BackboneError, match="mine has no layers"):
        backbone.layer_of("network.out.weight")
    assert backbone.adaptations(SPEC) == ()


def test_tokens_of_a_copy_are_the_copys_own() -> None:
    backbone = adapted(seeded(Net, 0), hooked=True)
    copied = copy.deepcopy(backbone)
    with torch.no_grad():
        copied.get_parameter("network.out.weight").zero_()
        copied.get_parameter("network.out.bias").fill_(2)
    clips = torch.randn(1, 3, 2, 4, 4)
    assert bool((copied.tokens(clips) == 2).all())
    assert not bool((backbone.tokens(clips) == 2).all())


class Table(Net):
    """With a buffer that is in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.arange(3.0), persistent=False)


def test_a_network_to_be_filled_has_what_no_file_fills() -> None:
    tensors = Net().state_dict()
    before = torch.get_rng_state()
    network, plain = build_for(Table, tensors, Path("x.pth")), build_for(Net, tensors, Path("x.pth"))
    assert torch.equal(torch.get_rng_state(), before)
    assert network.steps.tolist() == [0, 1, 2]  # type: ignore[operator]
    assert plain.out.weight.device.type == "cpu"
    assert not network.training
    assert not plain.training


def test_what_does_not_fit_is_refused_before_memory_is_taken() -> None:
    for width in (10**12, 10**18):  # 12 terabytes; more bytes than can be counted
        with pytest.raises(CheckpointError, match=r"x\.pth (does not fit|tells of a network that no memory)"):
            build_for(
                partial(nn.Linear, 3, width), {"weight": torch.zeros(5, 3), "bias": torch.zeros(5)}, Path("x.pth")
            )
