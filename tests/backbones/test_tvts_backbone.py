"""TVTS from files as its authors, others and we write them."""

import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.saving import save_backbone
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

TINY = SIZES["tiny"]
OTHERS = {
    "text_model.transformer.layer.0.attention.q_lin.weight": torch.zeros(2, 2),
    "txt_proj.1.weight": torch.zeros(4, 2),
    "vid_proj.0.bias": torch.zeros(4),
    "pred_model.head.weight": torch.zeros(4, 2),
}


def trained(config: VideoTransformerConfig = TINY, seed: int = 1) -> VideoTransformer:
    """A network with no entry at its initial value."""
    model = VideoTransformer.seeded(config, seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    return model


def official(model: VideoTransformer, prefix: str = "module.") -> dict[str, Any]:
    """The container of the official training code, with an object of a class that is nowhere to be found."""
    module = types.ModuleType("parse_config_dist_multi")
    cls = type("ConfigParser", (), {"__module__": module.__name__})
    module.ConfigParser = cls  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    state = {f"{prefix}video_model.{name}": tensor for name, tensor in model.state_dict().items()}
    state |= {f"{prefix}{name}": tensor for name, tensor in OTHERS.items()}
    return {"arch": "DistributedDataParallel", "epoch": 20, "state_dict": state, "optimizer": {}, "config": cls()}


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    sys.modules.pop("parse_config_dist_multi", None)
    return path


def clips() -> Tensor:
    return torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))


def assert_same_outputs(backbone: Backbone, model: VideoTransformer) -> None:
    shown = clips()[:, :, : model.config.num_frames]
    with torch.inference_mode():
        expected = model(shown)
        torch.testing.assert_close(backbone(shown), expected[:, 0])
        torch.testing.assert_close(backbone.tokens(shown), expected[:, 1:])


@pytest.mark.parametrize("name", [None, "tvts", "tvts:tiny"])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_official_files_load_whole(tmp_path: Path, name: str | None, prefix: str) -> None:
    model = trained()
    path = saved(tmp_path / "TVTS.pth", official(model, prefix))
    backbone = load_backbone(name, path)
    assert_same_outputs(backbone, model)
    report = backbone.weights.report
    assert report is not None
    assert (report.format, report.used) == ("official TVTS training checkpoint", len(model.state_dict()))
    assert report.unused_parts() == {"text_model": 1, "txt_proj": 1, "vid_proj": 1, "pred_model": 1}
    assert (backbone.family, backbone.variant, backbone.weights.name) == ("tvts", "tiny", "TVTS.pth")
    assert len(backbone.weights.sha256) == 64
    assert not backbone.training


@pytest.mark.parametrize("size", ["tiny", "mini", "micro"])
def test_sizes_of_one_width_and_depth_are_told_by_their_patches(size: str, tmp_path: Path) -> None:
    model = trained(SIZES[size])
    save_backbone(tmp_path / "ours.safetensors", model)
    for path in (tmp_path / "ours.safetensors", saved(tmp_path / "plain.pth", model.state_dict())):
        backbone = load_backbone(checkpoint=path)
        assert backbone.variant == size
        assert_same_outputs(backbone, model)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "video_model."])
@pytest.mark.parametrize("container", [None, "model"])
def test_plain_state_dicts_load(tmp_path: Path, prefix: str, container: str | None) -> None:
    model = trained()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    backbone = load_backbone(None, saved(tmp_path / "x.pth", state if container is None else {container: state}))
    assert_same_outputs(backbone, model)


def test_the_classifier_of_a_fine_tuned_file_is_set_aside(tmp_path: Path) -> None:
    state = trained().state_dict() | {"head.weight": torch.zeros(174, 128), "head.bias": torch.zeros(174)}
    report = load_backbone(None, saved(tmp_path / "x.pth", {"model": state})).weights.report
    assert report is not None
    assert report.unexpected == ("head.weight", "head.bias")


def test_half_precision_files_give_single_precision(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in trained().state_dict().items()}
    backbone = load_backbone(None, saved(tmp_path / "x.pth", state))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_our_own_files_carry_their_shape(tmp_path: Path) -> None:
    config = replace(TINY, num_heads=8, depth=2, drop_path=0.1)  # 8 heads cannot be told from tensors
    model = trained(config)
    save_backbone(tmp_path / "own.safetensors", model, {"run": "abc"})
    backbone = load_backbone(None, tmp_path / "own.safetensors")
    assert_same_outputs(backbone, model)
    assert backbone.weights.report is not None
    assert backbone.weights.report.format == "tvts-bench safetensors"
    assert backbone.variant == "128x2"
    assert [path.name for path in tmp_path.iterdir()] == ["own.safetensors"]


def test_own_files_of_a_known_size_have_its_name(tmp_path: Path) -> None:
    save_backbone(tmp_path / "own.safetensors", trained())
    assert load_backbone("tvts:tiny", tmp_path / "own.safetensors").variant == "tiny"


def test_a_file_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*: No such file"):
        save_backbone(tmp_path / "nowhere" / "x.safetensors", trained())
    (tmp_path / "taken").mkdir()
    with pytest.raises(CheckpointError, match=r"cannot write .*taken"):
        save_backbone(tmp_path / "taken", trained())
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_files_made_for_fewer_frames_ask_for_fewer(tmp_path: Path) -> None:
    backbone = load_backbone(None, saved(tmp_path / "x.pth", trained(replace(TINY, num_frames=8)).state_dict()))
    assert (backbone.variant, backbone.clip_spec.num_frames, backbone.clip_spec.crop) == ("tiny", 8, 32)


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    """An official file's tensors with some replaced, added or (None) taken away; `__` stands for a dot."""
    state: dict[str, Tensor] = official(trained())["state_dict"]
    for name, tensor in changes.items():
        key = "module." + name.replace("__", ".")
        state.pop(key, None)
        if tensor is not None:
            state[key] = tensor
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed(video_model__blocks__2__attn__qkv__weight=None), "missing 1 of 55 tensors (blocks.2.attn.qkv.weight)"),
        (changed(video_model__surprise=torch.zeros(1)), "unknown 1 (surprise)"),
        (changed(audio_model__w=torch.zeros(1)), "unknown 1 (audio_model.w)"),
        (changed(video_model__norm__bias=torch.zeros(64)), "norm.bias is [64], expected [128]"),
        (changed(video_model__temporal_embed=torch.zeros(8, 128)), "temporal_embed is [8, 128], expected [1, 8, 128]"),
        (changed(video_model__norm__bias=torch.full((128,), torch.nan)), "not finite numbers: norm.bias"),
        (changed(video_model__cls_token=torch.zeros(1, 1, 100)), "width 100 and 4 blocks"),
        (changed(video_model__cls_token=torch.tensor(0.0)), "cls_token is [], expected [1, 1, 128]"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path, state: dict[str, Tensor], said: str) -> None:
    path = saved(tmp_path / "x.pth", {"state_dict": state})
    with pytest.raises(CheckpointError) as caught:
        load_backbone(None, path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_tensor_of_divided_attention_has_no_place_here(tmp_path: Path) -> None:
    state = changed(video_model__blocks__0__timeattn__qkv__weight=torch.zeros(2))
    path = saved(tmp_path / "x.pth", {"state_dict": state})
    with pytest.raises(CheckpointError, match=r"unknown 1 \(blocks\.0\.timeattn\.qkv\.weight\)"):
        load_backbone("tvts", path)
    with pytest.raises(CheckpointError):
        load_backbone(None, path)


RESNET = {"conv1.weight": torch.zeros(2), "layer1.0.conv1.weight": torch.zeros(2), "fc.bias": torch.zeros(2)}
TEXT = {
    "transformer.layer.0.attention.q_lin.weight": torch.zeros(2),
    "embeddings.word_embeddings.weight": torch.ones(2),
}


@pytest.mark.parametrize(("state", "kind"), [(RESNET, "a ResNet"), (TEXT, "a text model")])
@pytest.mark.parametrize("name", [None, "tvts"])
def test_other_architectures_are_called_by_their_name(
    tmp_path: Path, state: dict[str, Tensor], kind: str, name: str | None
) -> None:
    path = saved(tmp_path / "x.pth", state)
    with pytest.raises(CheckpointError) as caught:
        load_backbone(name, path)
    assert f"looks like {kind}" in str(caught.value)
    assert next(iter(state)) in str(caught.value)


def test_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", trained().state_dict())
    with pytest.raises(CheckpointError, match="holds tvts:tiny, not the tvts:base asked for"):
        load_backbone("tvts:base", path)


def test_random_initialisation_is_a_control_that_says_what_it_is() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (load_backbone("tvts:tiny", seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weights.name == "random init (seed 4)"
    assert first.weights.report is None
    assert first.weights == again.weights
    assert first.weights.sha256 != other.weights.sha256
    with torch.inference_mode():
        assert torch.equal(first(clips()), again(clips()))
        assert not torch.allclose(first(clips()), other(clips()))


def test_clips_shorter_than_trained_are_said() -> None:
    backbone = load_backbone("tvts:tiny")
    assert backbone.adaptations(backbone.clip_spec) == ()
    assert backbone.adaptations(replace(backbone.clip_spec, num_frames=4)) == (
        "clips of 4 frames use the first 2 of 8 temporal embeddings",
    )


def test_sizes_ask_for_the_clips_they_take() -> None:
    specs = {name: load_backbone(f"tvts:{name}").clip_spec for name in ("small", "tiny")}
    assert {name: (s.num_frames, s.sampling, s.short_side, s.crop) for name, s in specs.items()} == {
        "small": (16, "segments", 224, 224),
        "tiny": (16, "segments", 32, 32),
    }


def test_every_parameter_has_a_layer() -> None:
    backbone = load_backbone("tvts:tiny")
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == set(range(6))
    assert layers["encoder.pos_embed"] == 0
    assert layers["encoder.blocks.3.norm1.weight"] == 4
    assert layers["encoder.norm.weight"] == 5
