"""Folders of VideoMAE: what a config.json beside the weights says and tensors cannot."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from tests.support.joint_files import clips
from tvts_bench import torchvision_ops  # noqa: F401 - before transformers
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError

from transformers import VideoMAEConfig  # isort: skip
from transformers import VideoMAEModel  # isort: skip
from tests.support.videomae_files import config, embedded, fine_tuned, randomised, tokens_of


def small(**changes: Any) -> VideoMAEConfig:
    """Another input than the official one, and what shapes do not tell: four heads of 16, another epsilon."""
    given: dict[str, Any] = {"image_size": 64, "patch_size": 16, "num_frames": 8, "tubelet_size": 2, "hidden_size": 64}
    given |= {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "layer_norm_eps": 1e-3}
    return VideoMAEConfig(**given | changes)


@pytest.mark.parametrize("changes", [{}, {"num_frames": 4, "tubelet_size": 4}, {"image_size": 96}])
def test_a_folders_own_input_and_network_are_the_default(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Positions are computed, so its tensors do not tell which clips a VideoMAE is for; its config.json does."""
    model = randomised(VideoMAEModel(small(**changes)))
    model.save_pretrained(tmp_path)
    backbone = load_backbone(None, tmp_path)
    spec, described = backbone.clip_spec, model.config
    assert (spec.num_frames, spec.crop, spec.short_side) == (described.num_frames, *[described.image_size] * 2)
    frames = torch.randn(2, 3, spec.num_frames, spec.crop, spec.crop, generator=torch.Generator().manual_seed(0))
    expected = F.layer_norm(tokens_of(model, frames).mean(1), (64,), eps=1e-3)
    torch.testing.assert_close(embedded(backbone, frames), expected, rtol=1e-5, atol=1e-5)
    assert backbone.adaptations(spec) == ()


def test_a_folders_tokens_after_the_norm_are_the_librarys_output(tmp_path: Path) -> None:
    model = randomised(VideoMAEModel(config(use_mean_pooling=False, layer_norm_eps=1e-12, num_frames=8)))
    model.save_pretrained(tmp_path)
    backbone = load_backbone("videomae:tiny-token-norm", tmp_path)
    frames = clips()[:, :, :8]
    with torch.inference_mode():
        torch.testing.assert_close(backbone.tokens(frames), tokens_of(model, frames), rtol=1e-5, atol=1e-5)


def test_networks_of_the_same_tensors_have_identities_of_their_own(tmp_path: Path) -> None:
    """Else features of the one would be taken for the other's."""
    model = randomised(VideoMAEModel(config()))
    identities = set()
    for heads in (2, 4):
        model.config.num_attention_heads = heads
        model.save_pretrained(tmp_path)
        identities.add(load_backbone("videomae", tmp_path).weights.sha256)
    (tmp_path / "config.json").unlink()
    assert len(identities | {load_backbone("videomae", tmp_path).weights.sha256}) == 3


def test_a_folder_has_the_pixels_of_its_processor(tmp_path: Path) -> None:
    randomised(VideoMAEModel(small())).save_pretrained(tmp_path)
    processor: dict[str, Any] = {"size": {"shortest_edge": 80}, "do_center_crop": True, "image_mean": [0.5] * 3}
    processor |= {"crop_size": {"height": 64, "width": 64}, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    spec = load_backbone(None, tmp_path).clip_spec
    assert (spec.num_frames, spec.short_side, spec.crop) == (8, 80, 64)
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.25,) * 3)


def test_frames_of_another_size_than_the_networks_are_made_of_its_size(tmp_path: Path) -> None:
    randomised(VideoMAEModel(small())).save_pretrained(tmp_path)
    processor = {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    spec = load_backbone(None, tmp_path).clip_spec
    assert (spec.short_side, spec.crop) == (64, 64)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_hidden_layers": 1}, r"num_hidden_layers = 1, expected 2, as the tensors beside it have it"),
        ({"num_hidden_layers": -1}, r"num_hidden_layers = -1, expected a whole number of 0 to 1,000"),
        ({"num_attention_heads": 3}, r"describes no network: embed_dim must be a multiple of num_heads, got 64 and 3"),
        ({"num_frames": 10**9}, r"num_frames = 1000000000, expected a whole number of 1 to"),
        ({"num_frames": "8"}, r"num_frames = '8', expected a whole number"),
        ({"hidden_act": "relu"}, r"hidden_act = 'relu', expected 'gelu', .*--backbone transformers builds"),
        ({"qkv_bias": False}, r"qkv_bias = False, expected True, .*--backbone transformers builds"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    randomised(VideoMAEModel(small())).save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | change))
    with pytest.raises(CheckpointError, match=rf"config\.json.* {sentence}"):
        load_backbone(None, tmp_path)


def test_version_2s_folders_say_their_input_in_a_part_of_their_own(tmp_path: Path) -> None:
    w = {f"model.{name}": tensor for name, tensor in fine_tuned().items()}
    save_file(w, tmp_path / "model.safetensors")
    inner = {"img_size": 48, "all_frames": 8, "tubelet_size": 2, "patch_size": 8, "num_heads": 4, "depth": 4}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "VideoMAEv2_Tiny", "model_config": inner}))
    spec = load_backbone("videomae2", tmp_path).clip_spec
    assert (spec.num_frames, spec.crop) == (8, 48)
