"""MoCo v3 and MAE from files as their authors save them, against timm's network fed frame by frame."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.joint_files import clips, damaged, random_tensors
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from timm.models.vision_transformer import VisionTransformer  # isort: skip

FAMILIES = ("mocov3", "mae")


def library(heads: int = 2, width: int = 128) -> VisionTransformer:
    """timm's network with no tensor at its initial value; the official networks have the norm's epsilon of timm's."""
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=width,
        depth=2,
        num_heads=heads,
        num_classes=0,
        dynamic_img_size=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    model.load_state_dict(random_tensors({name: tuple(t.shape) for name, t in model.state_dict().items()}))
    return model.eval()


def averaged(model: nn.Module, frames: Tensor) -> Tensor:
    """One frame at a time."""
    with torch.inference_mode():
        return torch.stack([model(frames[:, :, t]) for t in range(frames.shape[2])]).mean(0)


def official(family: str, encoder: dict[str, Tensor]) -> dict[str, Any]:
    """The file of a family with what else is in it."""
    if family == "mae":
        decoder = {"mask_token": (1, 1, 64), "decoder_embed.weight": (64, 128), "decoder_blocks.0.norm1.bias": (64,)}
        return {"model": encoder | random_tensors(decoder), "args": argparse.Namespace(mask_ratio=0.75)}
    state = {f"module.base_encoder.{name}": tensor for name, tensor in encoder.items()}
    state |= {f"module.momentum_encoder.{name}": tensor + 1 for name, tensor in encoder.items()}
    rest = {
        "module.base_encoder.head.0.weight": (64, 128),
        "module.base_encoder.head.1.running_var": (64,),
        "module.predictor.0.weight": (64, 64),
    }
    return {"epoch": 300, "arch": "vit_base", "state_dict": state | random_tensors(rest), "optimizer": {}, "scaler": {}}


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("family", "unused"),
    [
        ("mocov3", {"base_encoder": 2, "momentum_encoder": 30, "predictor": 1}),
        ("mae", {"mask_token": 1, "decoder_embed": 1, "decoder_blocks": 1}),
    ],
)
def test_frames_are_embedded_as_timm_does_and_averaged(
    tmp_path: Path, family: str, unused: dict[str, int], named: bool
) -> None:
    model = library()
    path = saved(tmp_path / "x.pth", official(family, dict(model.state_dict())))
    backbone = load_backbone(family if named else None, path)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(3)), averaged(model, clips(3)), rtol=1e-4, atol=1e-5)
        tokens = model.forward_features(clips(1)[:, :, 0])[:, 1:]
        torch.testing.assert_close(backbone.tokens(clips(1)), tokens, rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant) == (family, "tiny")
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == unused
    assert backbone.weights.report.used == len(model.state_dict())


def test_a_small_moco_has_twice_the_usual_heads(tmp_path: Path) -> None:
    model = library(heads=12, width=384)
    path = saved(tmp_path / "x.pth", official("mocov3", dict(model.state_dict())))
    backbone = load_backbone(None, path)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(1)), averaged(model, clips(1)), rtol=1e-4, atol=1e-5)
        other = averaged_with_heads(model, 6)
    assert not torch.allclose(backbone(clips(1)), other, atol=1e-2)
    assert backbone.variant == "384x2"


def averaged_with_heads(model: VisionTransformer, heads: int) -> Tensor:
    other = library(heads=heads, width=model.embed_dim)
    other.load_state_dict(model.state_dict())
    return averaged(other, clips(1))


def test_the_encoder_of_a_linear_classifier_loads_when_named(tmp_path: Path) -> None:
    model = library()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    state |= {"module.head.weight": torch.zeros(1000, 128), "module.head.bias": torch.zeros(1000)}
    backbone = load_backbone("mocov3", saved(tmp_path / "x.pth", {"state_dict": state}))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(1)), averaged(model, clips(1)), rtol=1e-4, atol=1e-5)
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"head": 2}


def test_an_encoder_of_mae_without_its_decoder_is_recognised(tmp_path: Path) -> None:
    state = dict(library().state_dict())
    assert load_backbone(None, saved(tmp_path / "x.pth", {"model": state})).family == "mae"
    head = {"head.weight": torch.zeros(5, 128), "head.bias": torch.zeros(5)}
    with pytest.raises(CheckpointError):  # any supervised network of timm's may look so
        load_backbone(None, saved(tmp_path / "y.pth", {"model": state | head}))


@pytest.mark.parametrize("how", ["renamed", "missing", "transposed"])
@pytest.mark.parametrize("name", ["blocks.1.mlp.fc1.weight", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_damaged_file_is_refused(tmp_path: Path, family: str, name: str, how: str) -> None:
    path = saved(tmp_path / "x.pth", official(family, damaged(dict(library().state_dict()), name, how)))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_backbone(family, path)
    with pytest.raises(CheckpointError):
        load_backbone(None, path)


def test_a_tensor_outside_the_encoder_does_not_replace_one_inside(tmp_path: Path) -> None:
    file = official("mocov3", dict(library().state_dict()))
    file["state_dict"]["module.norm.bias"] = file["state_dict"].pop("module.base_encoder.norm.bias")
    with pytest.raises(CheckpointError, match=r"missing 1 .*norm.bias.*unknown 1 \(norm.bias\)"):
        load_backbone("mocov3", saved(tmp_path / "x.pth", file))


@pytest.mark.parametrize("family", FAMILIES)
def test_other_resolutions_are_resampled_as_timm_does_and_that_is_said(tmp_path: Path, family: str) -> None:
    model = library()
    backbone = load_backbone(None, saved(tmp_path / "x.pth", official(family, dict(model.state_dict()))))
    with torch.inference_mode():
        expected = averaged(model, clips(1, 48))
        torch.testing.assert_close(backbone(clips(1, 48)), expected, rtol=1e-4, atol=1e-5)
    said = backbone.adaptations(ClipSpec(short_side=48, crop=48))
    assert said == ("position table 4 x 4 resampled to 6 x 6, bicubic, antialiased",)
