"""TANet from files as its authors and MMAction2 write them, against a plain re-statement of the module."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.temporal_resnet import AdaptiveResNet
from tvts_bench.video.spec import ClipSpec

from torchvision.models.resnet import Bottleneck, ResNet  # isort: skip

T = 8


def module_by_hand(x: Tensor, weights: dict[str, Tensor], frames: int) -> Tensor:
    """The paper's equations, channel by channel, on maps [B * T, C, H, W]."""
    maps = x.unflatten(0, (-1, frames)).transpose(1, 2)  # [B, C, T, H, W]
    pooled = maps.mean((3, 4))

    def norm(values: Tensor, name: str) -> Tensor:
        return F.batch_norm(
            values,
            weights[f"{name}.running_mean"],
            weights[f"{name}.running_var"],
            weights[f"{name}.weight"],
            weights[f"{name}.bias"],
        )

    local = F.relu(norm(F.conv1d(pooled, weights["L.0.weight"], padding=1), "L.1"))
    importance = torch.sigmoid(F.conv1d(local, weights["L.3.weight"]))  # [B, C, T]
    out = torch.zeros_like(maps)
    for clip in range(len(maps)):
        hidden = F.relu(norm(pooled[clip] @ weights["G.0.weight"].T, "G.1"))
        kernels = torch.softmax(hidden @ weights["G.3.weight"].T, dim=1)  # [C, 3]
        for channel in range(maps.shape[1]):
            weighed = maps[clip, channel] * importance[clip, channel, :, None, None]
            for t in range(frames):
                for tap in range(3):
                    if 0 <= t + tap - 1 < frames:
                        out[clip, channel, t] += kernels[channel, tap] * weighed[t + tap - 1]
    return out.transpose(1, 2).flatten(0, 1)


@pytest.fixture(scope="module")
def theirs() -> AdaptiveResNet:
    network = trained(AdaptiveResNet((1, 1, 1, 1), 8, T))
    assert isinstance(network, AdaptiveResNet)
    return network


def by_hand(network: AdaptiveResNet) -> Tensor:
    """torchvision's own forward pass, each module's place taken by the re-statement."""
    state = network.resnet.state_dict()
    plain = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=8).eval()
    plain.fc = nn.Identity()
    plain.load_state_dict({name: tensor for name, tensor in state.items() if ".tam." not in name})

    def adapt(name: str) -> None:
        prefix = f"{name}.tam."
        weights = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        block = plain.get_submodule(name)
        block.conv2.register_forward_pre_hook(lambda module, inputs: (module_by_hand(inputs[0], weights, T),))

    for stage in range(1, 5):
        adapt(f"layer{stage}.0")
    with torch.inference_mode():
        return plain(clips(T).transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, T)).mean(1)  # type: ignore[no-any-return]


def official(network: AdaptiveResNet) -> dict[str, Tensor]:
    """The authors' names: the bottleneck beside its module is called `net`."""
    state = {"module.new_fc.weight": torch.zeros(10, 2048), "module.new_fc.bias": torch.zeros(10)}
    for name, tensor in network.resnet.state_dict().items():
        inside = name if ".tam." in name else re.sub(r"^(layer\d\.\d+)\.", r"\1.net.", name)
        state[f"module.base_model.{inside}"] = tensor
    return state


def mmaction2(network: AdaptiveResNet) -> dict[str, Tensor]:
    """MMAction2's names: there it is called `block`, and a convolution and its norm are one module."""
    state = {"cls_head.fc_cls.weight": torch.zeros(10, 2048)}
    for name, tensor in network.resnet.state_dict().items():
        if ".tam." not in name:
            name = re.sub(r"^(layer\d\.\d+)\.", r"\1.block.", name)
            name = re.sub(r"conv(\d)\.", r"conv\1.conv.", name)
            name = re.sub(r"bn(\d)\.", r"conv\1.bn.", name)
            name = name.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")
        state[f"backbone.{name}"] = tensor
    return state


@pytest.mark.parametrize(("name", "layout"), [(None, official), ("tanet:tiny", official), (None, mmaction2)])
def test_features_are_those_of_the_papers_module(
    tmp_path: Path, theirs: AdaptiveResNet, name: str | None, layout: object
) -> None:
    assert callable(layout)
    backbone = load_backbone(name, saved(tmp_path / "ckpt.best.pth.tar", {"state_dict": layout(theirs)}))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(T)), by_hand(theirs), rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("tanet", "tiny", 2048)
    assert backbone.weights.report is not None
    assert set(backbone.weights.report.unused_parts()) <= {"new_fc", "cls_head"}
    assert backbone.weights.report.unexpected


def test_frames_are_those_of_the_file(tmp_path: Path) -> None:
    state = official(AdaptiveResNet((1, 1, 1, 1), 8, 4))
    backbone = load_backbone(None, saved(tmp_path / "x.pth", {"state_dict": state}))
    assert (backbone.variant, backbone.clip_spec.num_frames) == ("1-1-1-1_4f", 4)
    assert backbone.adaptations(backbone.clip_spec) == ()
    with pytest.raises(BackboneError, match=r"tanet:1-1-1-1_4f has weights for clips of 4 frames .* not 8"):
        backbone.adaptations(ClipSpec(num_frames=8, short_side=32, crop=32))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["tam.G.3.weight", "tam.L.3.weight", "net.conv1.weight"])
def test_a_changed_tensor_is_refused(tmp_path: Path, theirs: AdaptiveResNet, name: str, change: str) -> None:
    state = altered(official(theirs), f"module.base_model.layer2.0.{name}", change)
    with pytest.raises(CheckpointError, match=re.escape(f"layer2.0.{name.replace('net.', '')}")):
        load_backbone(None, saved(tmp_path / "x.pth", {"state_dict": state}))


def test_another_size_than_asked_for_is_refused(tmp_path: Path, theirs: AdaptiveResNet) -> None:
    with pytest.raises(CheckpointError, match="holds tanet:tiny, not the tanet:resnet50_8f asked for"):
        load_backbone("tanet:resnet50_8f", saved(tmp_path / "x.pth", {"state_dict": official(theirs)}))
