"""TCLR from files as its authors write them, against torchvision's networks changed as the paper says."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tclr import SIZES, DilatedResNet, TCLRConfig
from tvts_bench.models.checkpoint import CheckpointError

from torchvision.models.video import r2plus1d_18, r3d_18  # isort: skip
from torchvision.models.video.resnet import (  # isort: skip
    BasicBlock,
    BasicStem,
    Conv2Plus1D,
    Conv3DSimple,
    R2Plus1dStem,
    VideoResNet,
)


def small(separable: bool) -> nn.Module:
    """One block a stage, the last of them without halving time."""
    network = VideoResNet(
        BasicBlock,
        [Conv2Plus1D if separable else Conv3DSimple] * 4,
        [1, 1, 1, 1],
        R2Plus1dStem if separable else BasicStem,
    )
    network.layer4[0].conv1[0] = nn.Conv3d(
        256, 512, kernel_size=3, stride=(1, 2, 2), padding=(2, 1, 1), dilation=(2, 1, 1), bias=False
    )
    network.layer4[0].downsample[0] = nn.Conv3d(256, 512, kernel_size=1, stride=(1, 2, 2), bias=False)
    network.fc = nn.Identity()
    return trained(network)


@pytest.fixture(scope="module")
def solid() -> nn.Module:
    return small(separable=False)


def official(network: nn.Module) -> dict[str, Tensor]:
    """The two parts that were trained as one, under DistributedDataParallel."""
    state = {f"module.0.{name}": tensor for name, tensor in network.state_dict().items()}
    return state | {"module.1.0.weight": torch.zeros(4, 512), "module.1.2.bias": torch.zeros(4)}


def container(state: dict[str, Tensor]) -> dict[str, object]:
    return {"epoch": 1, "state_dict": state, "optimizer": {}, "learning_rate": 0.1, "amp_scaler": {"scale": 2.0}}


def embedded(network: nn.Module) -> Tensor:
    """As the authors' own pooling: over space, then the mean of the last stage's times, of frames in BGR."""
    x = clips(16, batch=1)[:, [2, 1, 0]]
    with torch.inference_mode():
        for part in ("stem", "layer1", "layer2", "layer3", "layer4"):
            x = network.get_submodule(part)(x)
    assert x.shape[2] == 4  # not 2, as torchvision's own
    return x.mean((3, 4)).mean(2)


@pytest.mark.parametrize("name", [None, "tclr:tiny"])
def test_features_are_those_of_the_changed_network(tmp_path: Path, solid: nn.Module, name: str | None) -> None:
    backbone = load_backbone(name, saved(tmp_path / "TCLR.pth", container(official(solid))))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(16, batch=1)), embedded(solid), rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("tclr", "tiny", 512)
    assert (backbone.clip_spec.mean, backbone.clip_spec.std) == ((0, 0, 0), (1, 1, 1))
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"1": 2}


def test_separable_convolutions_are_known_by_their_names(tmp_path: Path) -> None:
    network = small(separable=True)
    backbone = load_backbone(None, saved(tmp_path / "TCLR.pth", container(official(network))))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(16, batch=1)), embedded(network), rtol=1e-4, atol=1e-5)
    assert backbone.variant == "r2plus1d_1-1-1-1"


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, solid: nn.Module, change: str) -> None:
    state = altered(official(solid), "module.0.layer2.0.conv1.0.weight", change)
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.0\.weight"):
        load_backbone(None, saved(tmp_path / "x.pth", container(state)))


def test_torchvisions_own_file_is_not_taken_for_it(tmp_path: Path, solid: nn.Module) -> None:
    """It has the same names and shapes, and would give other features."""
    path = saved(tmp_path / "r3d_18.pth", dict(solid.state_dict()))
    with pytest.raises(CheckpointError, match="is of no known backbone"):
        load_backbone(None, path)
    with pytest.raises(CheckpointError, match=r"no ResNet's four stages, 0\.layer1"):
        load_backbone("tclr", path)


@pytest.mark.parametrize(("name", "whole"), [("r3d_18", r3d_18), ("r2plus1d_18", r2plus1d_18)])
def test_the_sizes_are_torchvisions(name: str, whole: object) -> None:
    assert callable(whole)
    with torch.device("meta"):
        ours, theirs = DilatedResNet(SIZES[name].blocks, separable=SIZES[name].separable).resnet, whole()
    kept = "layer4.0.conv1.0." if name == "r2plus1d_18" else "fc."
    names = {key for key in theirs.state_dict() if not key.startswith(("fc.", kept))}
    assert names == {key for key in ours.state_dict() if not key.startswith(kept)}
    if name == "r3d_18":
        assert round(sum(parameter.numel() for parameter in ours.parameters()) / 1e6, 2) == 33.17


def test_another_size_than_asked_for_is_refused(tmp_path: Path, solid: nn.Module) -> None:
    assert TCLRConfig() == SIZES["r2plus1d_18"]
    with pytest.raises(CheckpointError, match="holds tclr:tiny, not the tclr:r3d_18 asked for"):
        load_backbone("tclr:r3d_18", saved(tmp_path / "x.pth", container(official(solid))))
