"""Models of the transformers library from folders, against the library's own class fed directly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

import transformers as library  # isort: skip
from tests.support.library_folders import PROCESSOR, SMALL, TEXT, described, folder, frames, mean, siglip, vit


def test_images_are_pooled_by_the_model_itself(tmp_path: Path) -> None:
    model = vit()
    backbone = load_backbone(None, folder(tmp_path / "vit", model, PROCESSOR))
    with torch.inference_mode():
        out = model(frames())
        torch.testing.assert_close(backbone(clips()), mean(out.pooler_output), rtol=1e-4, atol=1e-5)
        expected = out.last_hidden_state[:, 1:].unflatten(0, (2, 3)).flatten(1, 2)
        torch.testing.assert_close(backbone.tokens(clips()), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("transformers", "pooler", 64)
    spec = backbone.clip_spec
    assert (spec.num_frames, spec.short_side, spec.crop, spec.interpolation) == (16, 40, 32, "bicubic")
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.weights.report is not None
    assert backbone.weights.report.used == len(model.state_dict())


@pytest.mark.parametrize("variant", ["cls", "mean"])
def test_other_poolings_are_asked_for_by_name(tmp_path: Path, variant: str) -> None:
    model = vit()
    backbone = load_backbone(f"transformers:{variant}", folder(tmp_path / "vit", model))
    with torch.inference_mode():
        hidden = model(frames()).last_hidden_state
        expected = hidden[:, 0] if variant == "cls" else hidden[:, 1:].mean(1)
        torch.testing.assert_close(backbone(clips()), mean(expected), rtol=1e-4, atol=1e-5)
    assert backbone.variant == variant


def test_a_classifier_is_set_aside_and_a_pooling_that_was_never_trained_left_out(tmp_path: Path) -> None:
    model = trained(library.ViTForImageClassification(library.ViTConfig(**SMALL)))
    backbone = load_backbone(None, folder(tmp_path / "vit", model))
    with torch.inference_mode():
        expected = model.get_submodule("vit")(frames()).last_hidden_state[:, 0]
        torch.testing.assert_close(backbone(clips()), mean(expected), rtol=1e-4, atol=1e-5)
    assert backbone.variant == "cls"
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"classifier": 2}


def test_of_a_model_of_images_and_texts_the_encoder_of_images_is_used(tmp_path: Path) -> None:
    config = library.CLIPConfig(vision_config=SMALL, text_config=TEXT)
    model = trained(library.CLIPModel(config))
    backbone = load_backbone(None, folder(tmp_path / "clip", model))
    with torch.inference_mode():
        expected = model.get_submodule("vision_model")(frames()).pooler_output
        torch.testing.assert_close(backbone(clips()), mean(expected), rtol=1e-4, atol=1e-5)
    assert backbone.weights.report is not None
    assert {"text_model", "logit_scale"} <= set(backbone.weights.report.unused_parts())


def test_a_family_that_knows_the_architecture_comes_first(tmp_path: Path) -> None:
    path = folder(tmp_path / "siglip", siglip())
    one, other = load_backbone(None, path), load_backbone("transformers", path)
    assert (one.family, other.family) == ("siglip2", "transformers")
    assert one.weights.files == other.weights.files
    with torch.inference_mode():  # two heads of 32, which tensors alone would be taken for one of 64
        torch.testing.assert_close(one(clips()), other(clips()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "gelu"}, r"hidden_act = 'gelu', expected 'gelu_pytorch_tanh', .*--backbone transformers"),
        ({"num_hidden_layers": 1}, r"num_hidden_layers = 1, expected 2, as the tensors beside it have it"),
        ({"num_attention_heads": 3}, r"has 3 heads, of which 64 is no multiple"),
    ],
)
def test_a_description_that_the_family_cannot_follow_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = folder(tmp_path / "siglip", siglip())
    described(path, vision_config=json.loads((path / "config.json").read_text())["vision_config"] | change)
    with pytest.raises(CheckpointError, match=sentence):
        load_backbone("siglip2", path)


def test_a_folder_of_siglip_has_the_pixels_of_its_processor(tmp_path: Path) -> None:
    processor = PROCESSOR | {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    backbone = load_backbone(None, folder(tmp_path / "siglip", siglip(), processor))
    spec = backbone.clip_spec
    assert backbone.family == "siglip2"
    assert (spec.crop, spec.resize, spec.mean, spec.interpolation) == (32, "squash", (0.1, 0.2, 0.3), "bicubic")


def test_convolutional_networks_are_pooled_and_have_tokens(tmp_path: Path) -> None:
    config = library.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], image_size=64)
    model = trained(library.ConvNextModel(config))
    backbone = load_backbone(
        None, folder(tmp_path / "convnext", model, {"size": {"shortest_edge": 64}, "crop_pct": 0.8})
    )
    with torch.inference_mode():
        expected = mean(model(frames(64)).pooler_output)
        torch.testing.assert_close(backbone(clips(size=64)), expected, rtol=1e-4, atol=1e-5)
    assert backbone.tokens(clips(size=64)).shape == (2, 3 * 4, 64)
    assert (backbone.clip_spec.short_side, backbone.clip_spec.crop) == (80, 64)


def test_video_models_see_the_whole_clip(tmp_path: Path) -> None:
    """Biases of queries and values among it, which one version of the library left at zero without a word."""
    decoder: dict[str, Any] = {
        "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 1,
    }
    config = library.VideoMAEConfig(**SMALL, num_frames=4, decoder_intermediate_size=32, **decoder)
    model = trained(library.VideoMAEForPreTraining(config))
    backbone = load_backbone("transformers", folder(tmp_path / "videomae", model))
    with torch.inference_mode():
        expected = model.get_submodule("videomae")(clips(4).transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(backbone(clips(4)), expected.mean(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(backbone.tokens(clips(4)), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.variant, backbone.clip_spec.num_frames) == ("mean", 4)
    assert any(name.endswith("query.bias") and bool(p.any()) for name, p in backbone.named_parameters())
    with pytest.raises(BackboneError, match=r"cannot take clips of 6 frames of 32 x 32 pixels"):
        backbone.adaptations(ClipSpec(num_frames=6, short_side=32, crop=32))
    with pytest.raises(BackboneError, match="a VideoMAEModel has no cls: it has mean"):
        load_backbone("transformers:cls", tmp_path / "videomae")


def test_a_predictor_is_not_run(tmp_path: Path) -> None:
    predictor: dict[str, Any] = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    config = library.VJEPA2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        **predictor,
    )
    model = trained(library.VJEPA2Model(config))
    backbone = load_backbone(None, folder(tmp_path / "vjepa2", model))
    with torch.inference_mode():
        expected = model(clips(4).transpose(1, 2), skip_predictor=True).last_hidden_state.mean(1)
        torch.testing.assert_close(backbone(clips(4)), expected, rtol=1e-4, atol=1e-5)


def test_other_resolutions_are_interpolated_as_the_library_does_and_said(tmp_path: Path) -> None:
    model = vit()
    backbone = load_backbone(None, folder(tmp_path / "vit", model))
    (said,) = backbone.adaptations(ClipSpec(short_side=48, crop=48))
    assert said == "frames of 48 x 48 pixels in a network made for 32 x 32"
    with torch.inference_mode():
        expected = model(frames(48), interpolate_pos_encoding=True).pooler_output
        torch.testing.assert_close(backbone(clips(size=48)), mean(expected), rtol=1e-4, atol=1e-5)


def test_every_parameter_has_a_layer(tmp_path: Path) -> None:
    backbone = load_backbone(None, folder(tmp_path / "vit", vit()))
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3}
    assert layers["network.image.model.embeddings.cls_token"] == 0
    assert layers["network.image.model.pooler.dense.weight"] == 3


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, change: str) -> None:
    path = folder(tmp_path / "vit", vit())
    state = load_file(path / "model.safetensors")
    name = next(key for key in state if "layer.0." in key and state[key].shape == (128, 64))
    save_file(altered(state, name, change), path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"does not fit a ViTModel: .*layers\.0\.mlp\.fc1\.weight"):
        load_backbone(None, path)


def test_folders_that_cannot_be_used_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = folder(tmp_path / "vit", vit())
    with pytest.raises(BackboneError, match=r"no architecture 'vitt'; close: .*vit.*code that comes with a model"):
        load_backbone("transformers", described(path, model_type="vitt"))
    with pytest.raises(BackboneError, match=r"config\.json does not describe a vit"):
        load_backbone("transformers", described(path, model_type="vit", layer_norm_eps="wide"))
    described(path, layer_norm_eps=1e-12)
    with pytest.raises(BackboneError, match=r"needs a folder with config\.json.*x\.pth has no config\.json beside it"):
        load_backbone("transformers", saved(tmp_path / "x.pth", {"w": torch.zeros(1)}))
    with pytest.raises(BackboneError, match=r"needs a folder with config\.json"):
        load_backbone("transformers")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = vit()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(CheckpointError, match=r"not finite numbers: embeddings\.cls_token"):
        load_backbone(None, folder(tmp_path / "vit", model))
