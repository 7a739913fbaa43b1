"""Folders whose config.json says more, or less, than the weights beside it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.altered import clips, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

import transformers as library  # isort: skip
from tests.support.library_folders import SMALL, TEXT, described, folder, vit

TIMESFORMER = SMALL | {"num_frames": 4, "attention_type": "divided_space_time"}


@pytest.mark.parametrize(("count", "size"), [(4, 32), (6, 32), (2, 32), (8, 48)])
def test_timesformer_is_told_the_clips_that_it_is_given(tmp_path: Path, count: int, size: int) -> None:
    """Its layers take the number of frames, and their size, from the configuration at each call."""
    model: Any = trained(library.TimesformerModel(library.TimesformerConfig(**TIMESFORMER)))
    backbone = load_backbone(None, folder(tmp_path / "timesformer", model))
    model.config.num_frames, model.config.image_size = count, size
    with torch.inference_mode():
        expected = model(clips(count, size).transpose(1, 2)).last_hidden_state[:, 0]
        torch.testing.assert_close(backbone(clips(count, size)), expected, rtol=1e-5, atol=1e-5)
    (*said,) = backbone.adaptations(ClipSpec(num_frames=count, short_side=size, crop=size))
    assert bool(said) == ((count, size) != (4, 32))


def test_timesformer_of_more_frames_is_the_library_made_for_them(tmp_path: Path) -> None:
    model = trained(library.TimesformerModel(library.TimesformerConfig(**TIMESFORMER)))
    longer = library.TimesformerModel(library.TimesformerConfig(**TIMESFORMER | {"num_frames": 8})).eval()
    state = model.state_dict()
    table = state["embeddings.time_embeddings"]
    longer.load_state_dict(state | {"embeddings.time_embeddings": table.repeat_interleave(2, dim=1)})
    backbone = load_backbone(None, folder(tmp_path / "timesformer", model))
    with torch.inference_mode():
        expected = longer(clips(8).transpose(1, 2)).last_hidden_state[:, 0]
        torch.testing.assert_close(backbone(clips(8)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "size"), [(4, 32), (2, 32), (6, 48)])
def test_vjepa2_has_positions_for_the_clips_that_it_is_given(tmp_path: Path, count: int, size: int) -> None:
    def made(crop: int, length: int) -> Any:
        small: dict[str, Any] = {key: value for key, value in SMALL.items() if "size" not in key} | {
            "hidden_size": 64,
            "patch_size": 8,
        }
        predictor: dict[str, Any] = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        return library.VJEPA2Model(library.VJEPA2Config(**small, **predictor, crop_size=crop, frames_per_clip=length))

    model, other = trained(made(32, 4)), made(size, count).eval()
    other.load_state_dict(model.state_dict())
    backbone = load_backbone("transformers", folder(tmp_path / "vjepa2", model))
    with torch.inference_mode():
        expected = other(clips(count, size).transpose(1, 2), skip_predictor=True).last_hidden_state.mean(1)
        torch.testing.assert_close(backbone(clips(count, size)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["base", "classifier"])
@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 0},
        {"num_hidden_layers": 1},
        {"hidden_size": 32},
        {"intermediate_size": 64},
        {"patch_size": 16},
    ],
)
def test_a_description_of_less_than_the_file_holds_is_refused(
    tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    """Every tensor is used, or is known to be beside the encoder: else an emptier network would be measured."""
    config = library.ViTConfig(**SMALL)
    model = vit() if name == "base" else trained(library.ViTForImageClassification(config))
    path = described(folder(tmp_path / "vit", model), **change)
    with pytest.raises(CheckpointError, match=r"does not fit a ViTModel: (unknown|of another shape) \d+"):
        load_backbone(None, path)


def test_the_encoder_of_images_of_a_model_of_both_may_not_be_described_as_less(tmp_path: Path) -> None:
    config = library.CLIPConfig(vision_config=SMALL, text_config=TEXT)
    path = folder(tmp_path / "clip", trained(library.CLIPModel(config)))
    vision = json.loads((path / "config.json").read_text())["vision_config"]
    described(path, vision_config=vision | {"num_hidden_layers": 0})
    with pytest.raises(CheckpointError, match=r"does not fit a CLIPVisionModel: unknown \d+ \(.*layers\.0"):
        load_backbone(None, path)


def test_a_convolutional_network_may_not_be_described_as_less(tmp_path: Path) -> None:
    config = library.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 2, 1], image_size=64)
    path = folder(tmp_path / "convnext", trained(library.ConvNextModel(config)))
    with pytest.raises(CheckpointError, match=r"does not fit a ConvNextModel: unknown \d+"):
        load_backbone(None, described(path, depths=[1, 1, 0, 1]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_hidden_layers": 10**9}, r"num_hidden_layers = 1000000000, expected a whole number of 0 to 1,000"),
        ({"num_hidden_layers": -1}, r"num_hidden_layers = -1, expected a whole number of 0 to 1,000"),
        ({"num_hidden_layers": 1.5}, r"num_hidden_layers = 1\.5, expected a whole number"),
        ({"hidden_size": 10**9}, r"hidden_size = 1000000000, expected a whole number of 1 to 1,048,576"),
        ({"hidden_size": "64"}, r"hidden_size = '64', expected a whole number of 1 to"),
        ({"num_attention_heads": 0}, r"num_attention_heads = 0, expected a whole number of 1 to"),
        ({"image_size": 10**6}, r"image_size = 1000000, expected a whole number of 1 to 8,192"),
        ({"image_size": 8192, "patch_size": 1}, r"describes clips of 67,108,864 patches"),
        ({"layer_norm_eps": float("nan")}, r"layer_norm_eps = nan, expected a finite number"),
        ({"window_size": 10**12}, r"window_size = 1000000000000, expected a number of at most"),
        ({"vision_config": {"depths": [2, 10**9]}}, r"vision_config\.depths = \[2, 1000000000\], expected a whole"),
        ({"text_config": {"num_hidden_layers": 10**9}}, r"text_config\.num_hidden_layers = 1000000000, expected"),
        ({"intermediate_size": 2**20}, r"describes a ViTModel of [\d,]+ numbers, model\.safetensors has [\d,]+"),
    ],
)
def test_sizes_that_no_network_has_are_refused_before_anything_is_made(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = described(folder(tmp_path / "vit", vit()), **change)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=rf"config\.json.*{sentence}|{sentence}"):
        load_backbone("transformers", path)
    assert time.monotonic() - start < 20


def test_models_of_texts_are_refused_before_they_are_made(tmp_path: Path) -> None:
    config = library.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    path = folder(tmp_path / "bert", library.BertModel(config))
    with pytest.raises(BackboneError, match="a bert takes no images or videos"):
        load_backbone("transformers", path)
