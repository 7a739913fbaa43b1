"""Any network of timm, against timm's own network fed directly."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

import timm  # isort: skip

HALF, IMAGENET = 0.5, 0.485  # means of red
NETWORKS = {  # by timm: pixels of the short side, mean of red
    "test_vit": (168, HALF),
    "test_resnet": (168, HALF),
    "test_convnext": (168, HALF),
    "test_efficientnet": (168, IMAGENET),
    "test_mambaout": (160, IMAGENET),
}


def averaged(network: nn.Module, size: int) -> Tensor:
    """The mean over frames of what timm pools before its classifier."""
    with torch.inference_mode():
        images = clips(size=size).transpose(1, 2).flatten(0, 1)
        features = network.forward_head(network.forward_features(images), pre_logits=True)  # type: ignore[operator]
    return features.unflatten(0, (2, 3)).mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_what_timm_pools(tmp_path: Path, name: str) -> None:
    network = trained(timm.create_model(name, num_classes=10))
    backbone = load_backbone(f"timm:{name}", saved(tmp_path / "x.pth", network.state_dict()))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(size=160)), averaged(network, 160), rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant) == ("timm", name)
    assert (backbone.clip_spec.short_side, backbone.clip_spec.mean[0]) == NETWORKS[name]
    assert backbone.clip_spec.crop == 160
    report = backbone.weights.report
    assert report is not None
    assert [key.rpartition(".")[2] for key in report.unexpected] == ["weight", "bias"]


def folder(path: Path, name: str, **described: object) -> Path:
    """As the Hub has timm's networks."""
    network = trained(timm.create_model(name, num_classes=10))
    save_file(dict(network.state_dict()), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": name, "num_classes": 10, **described}))
    return path


def test_a_folder_says_which_network_it_is_and_its_input(tmp_path: Path) -> None:
    mean = [0.1, 0.2, 0.3]
    described = {"input_size": [3, 160, 160], "mean": mean, "std": [0.5] * 3, "crop_pct": 1.0, "classifier": "head"}
    backbone = load_backbone(
        None, folder(tmp_path, "test_vit", pretrained_cfg={**described, "interpolation": "bilinear"})
    )
    assert (backbone.family, backbone.variant) == ("timm", "test_vit")
    spec = backbone.clip_spec
    assert (spec.mean, spec.short_side, spec.interpolation) == (tuple(mean), 160, "bilinear")


def test_a_folder_has_no_say_in_classes_or_other_files(tmp_path: Path) -> None:
    others = {"num_classes": 10, "pretrained": True, "checkpoint_path": str(tmp_path / "elsewhere.pth")}
    assert load_backbone(None, folder(tmp_path, "test_vit", model_args=others)).embed_dim == 64


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"model_args": [1]}, "has a list as model_args, expected an object"),
        ({"pretrained_cfg": [1]}, "has a list as pretrained_cfg, expected an object"),
        ({"model_args": {"patch_size": 0}}, r"patch_size = 0, expected a whole number of 1 to"),
        ({"pretrained_cfg": {"input_size": "x"}}, "timm cannot make test_vit"),
    ],
)
def test_a_folder_whose_description_makes_no_sense_is_refused(
    tmp_path: Path, described: dict[str, object], said: str
) -> None:
    with pytest.raises((BackboneError, CheckpointError), match=said):
        load_backbone(None, folder(tmp_path, "test_vit", **described))


def test_other_resolutions_are_tried_and_said() -> None:
    vit = load_backbone("timm:test_vit")
    assert vit.adaptations(vit.clip_spec) == ()
    assert "96 x 96 pixels in a network made for 160 x 160" in vit.adaptations(ClipSpec(short_side=96, crop=96))[0]
    assert vit(clips(size=96)).shape == (2, 64)
    with pytest.raises(
        BackboneError, match=r"timm:test_vit cannot take clips of 1 frames of 100 x 100 pixels \(.*own input"
    ):
        vit.adaptations(ClipSpec(short_side=100, crop=100))


def test_the_toy_is_of_the_embedded_worlds_size() -> None:
    toy = load_backbone("timm:tiny")
    assert (toy.clip_spec.short_side, toy.clip_spec.crop) == (32, 32)
    assert toy.tokens(clips()).shape == (2, 3 * 16, 64)


def test_tokens_and_layers_are_timms() -> None:
    backbone = load_backbone("timm:test_vit")
    assert backbone.tokens(clips(size=160)).shape == (2, 3 * 100, 64)
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert layers["network.image.vit.pos_embed"] == 0
    assert layers["network.image.vit.blocks.1.norm1.weight"] == 2
    with pytest.raises(BackboneError, match="no patch tokens"):
        load_backbone("timm:test_resnet").tokens(clips())


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(BackboneError, match=r"no network 'resnet5O' \(did you mean .*resnet50"):
        load_backbone("timm:resnet5O")
    with pytest.raises(BackboneError, match=r"cannot make test_vit\.nowhere .* it has: test_vit\.r160_in1k"):
        load_backbone("timm:test_vit.nowhere")


def test_a_file_without_a_name_asks_for_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", timm.create_model("test_resnet").state_dict())
    with pytest.raises(BackboneError, match=r"x\.pth does not say which network it is: name it, --backbone timm:NAME"):
        load_backbone("timm", path)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, change: str) -> None:
    state = altered(dict(timm.create_model("test_vit").state_dict()), "blocks.1.mlp.fc1.weight", change)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc1\.weight"):
        load_backbone("timm:test_vit", saved(tmp_path / "x.pth", state))
