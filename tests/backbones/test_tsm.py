"""TSM from files as its authors write them, against torchvision's ResNet with a plain shift before each convolution."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.temporal_resnet import ShiftResNet, shifted

from torchvision.models import resnet50  # isort: skip
from torchvision.models.resnet import Bottleneck, ResNet  # isort: skip


@pytest.fixture(scope="module")
def theirs() -> ResNet:
    network = trained(ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=8, num_classes=10))
    assert isinstance(network, ResNet)
    return network


def official(network: nn.Module) -> dict[str, Tensor]:
    """The authors' names: the first convolution of a block is wrapped, and the classifier is apart."""
    state = {}
    for name, tensor in network.state_dict().items():
        wrapped = name.startswith("layer") and name.endswith("conv1.weight")
        inside = name.replace("conv1.weight", "conv1.net.weight") if wrapped else name
        state[f"module.new_fc.{name[3:]}" if name.startswith("fc.") else f"module.base_model.{inside}"] = tensor
    return state


def container(state: dict[str, Tensor]) -> dict[str, object]:
    return {"epoch": 50, "arch": "resnet50", "state_dict": state, "optimizer": {}, "best_prec1": 74.1}


def embedded(network: ResNet, frames: int) -> Tensor:
    """The library's network with hooks that shift, channel by channel and frame by frame."""

    def shift(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        x = inputs[0].unflatten(0, (-1, frames))
        out = x.clone()
        for channel in range(x.shape[2] // 4):
            towards_start = channel < x.shape[2] // 8
            for t in range(frames):
                source = t + 1 if towards_start else t - 1
                out[:, t, channel] = x[:, source, channel] if 0 <= source < frames else 0
        return out.flatten(0, 1)  # type: ignore[no-any-return]

    hooks = [m.conv1.register_forward_pre_hook(shift) for m in network.modules() if isinstance(m, Bottleneck)]
    seen: list[Tensor] = []
    hooks.append(network.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])))
    with torch.inference_mode():
        network(clips(frames).transpose(1, 2).flatten(0, 1))
    for hook in hooks:
        hook.remove()
    return seen[0].unflatten(0, (-1, frames)).mean(1)  # type: ignore[no-any-return]


def test_shifts_by_hand() -> None:
    x = torch.arange(1.0, 4).reshape(3, 1, 1, 1).expand(3, 8, 1, 1)  # one clip of three frames, 1 2 3 in 8 channels
    assert shifted(x, 3)[:, :, 0, 0].T.tolist() == [[2, 3, 0], [0, 1, 2]] + [[1, 2, 3]] * 6


@pytest.mark.parametrize(("name", "frames"), [(None, 8), ("tsm", 5), ("tsm:tiny", 8)])
def test_features_are_those_of_the_shifted_network(
    tmp_path: Path, theirs: ResNet, name: str | None, frames: int
) -> None:
    backbone = load_backbone(name, saved(tmp_path / "TSM.pth", container(official(theirs))))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(frames)), embedded(theirs, frames), rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("tsm", "tiny", 2048)
    assert (backbone.clip_spec.num_frames, backbone.clip_spec.crop) == (8, 32)
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"new_fc": 2}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, theirs: ResNet, change: str) -> None:
    state = altered(official(theirs), "module.base_model.layer2.0.conv3.weight", change)
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv3\.weight"):
        load_backbone(None, saved(tmp_path / "x.pth", container(state)))


def test_a_network_that_shifts_some_blocks_only_is_refused(tmp_path: Path, theirs: ResNet) -> None:
    name = "module.base_model.layer3.0.conv1.net.weight"
    state = official(theirs)
    state[name.replace(".net", "")] = state.pop(name)
    with pytest.raises(CheckpointError, match="shifts 3 of 4 blocks"):
        load_backbone(None, saved(tmp_path / "x.pth", container(state)))


def test_a_network_with_non_local_blocks_is_refused(tmp_path: Path, theirs: ResNet) -> None:
    state = official(theirs) | {"module.base_model.layer2.0.nl.g.weight": torch.zeros(4, 4)}
    with pytest.raises(CheckpointError, match=r"unknown 1 \(resnet\.layer2\.0\.nl\.g\.weight\)"):
        load_backbone(None, saved(tmp_path / "x.pth", container(state)))


def test_the_network_is_torchvisions_resnet50() -> None:
    with torch.device("meta"):
        ours, whole = ShiftResNet((3, 4, 6, 3), 64).resnet, resnet50()
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items() if not name.startswith("fc.")}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes


def test_another_size_than_asked_for_is_refused(tmp_path: Path, theirs: ResNet) -> None:
    path = saved(tmp_path / "x.pth", container(official(theirs)))
    with pytest.raises(CheckpointError, match="holds tsm:1-1-1-1_16f, not the tsm:resnet50_16f asked for"):
        load_backbone("tsm:resnet50_16f", path)
    state = {name: tensor for name, tensor in official(theirs).items() if "layer4" not in name}
    with pytest.raises(CheckpointError, match="no ResNet's four stages"):
        load_backbone("tsm", saved(path, container(state)))
