"""VideoMAE from official files and from the transformers library's, against that library's own network."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from tests.support.joint_files import DIM, clips, damaged, encoder, random_tensors
from tvts_bench import torchvision_ops  # noqa: F401 - before transformers
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.videomae import FAMILY, SIZES
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from transformers import VideoMAEConfig, VideoMAEForPreTraining  # isort: skip
from transformers import VideoMAEForVideoClassification, VideoMAEModel  # isort: skip
from tests.support.videomae_files import (
    BESIDE,
    assert_close,
    config,
    embedded,
    fine_tuned,
    fine_tuned_file,
    in_the_library,
    norm,
    pretrained,
    pretraining_file,
    randomised,
    tokens_of,
)


@pytest.mark.parametrize("name", [None, "videomae", "videomae:tiny"])
def test_a_pretrained_file_gives_the_normalised_mean_of_tokens(tmp_path: Path, name: str | None) -> None:
    w = pretrained()
    backbone = load_backbone(name, pretraining_file(tmp_path / "x.pth", w))
    tokens = tokens_of(in_the_library(w), clips())
    assert_close(embedded(backbone, clips()), F.layer_norm(tokens.mean(1), (DIM,), eps=1e-6))
    with torch.inference_mode():
        assert_close(backbone.tokens(clips()), tokens)
    report = backbone.weights.report
    assert report is not None
    assert (backbone.family, backbone.variant, report.format) == ("videomae", "tiny", "official file, pretrained")
    assert report.unused_parts() == {"encoder_to_decoder": 1, "mask_token": 1, "decoder": 2, "norm": 2}
    assert report.used == 2 + 4 * 12


def test_the_encoders_own_norm_is_there_for_the_asking(tmp_path: Path) -> None:
    w = pretrained()
    backbone = load_backbone("videomae:tiny-token-norm", pretraining_file(tmp_path / "x.pth", w))
    tokens = norm(tokens_of(in_the_library(w), clips()), w, "norm")
    assert_close(embedded(backbone, clips()), tokens.mean(1))
    with torch.inference_mode():
        assert_close(backbone.tokens(clips()), tokens)
    assert backbone.variant == "tiny-token-norm"
    assert backbone.weights.report is not None
    assert "norm" not in backbone.weights.report.unused_parts()


def test_a_fine_tuned_file_brings_its_norm_and_its_head_is_set_aside(tmp_path: Path) -> None:
    w = fine_tuned()
    backbone = load_backbone(None, fine_tuned_file(tmp_path / "x.pth", w))
    expected = norm(tokens_of(in_the_library(w), clips()).mean(1), w, "fc_norm")
    assert_close(embedded(backbone, clips()), expected)
    report = backbone.weights.report
    assert report is not None
    assert (backbone.family, report.format) == ("videomae", "official file, fine-tuned")
    assert report.unexpected == ("head.weight", "head.bias")


@pytest.mark.parametrize("bias", ["q_bias", "v_bias"])
def test_biases_of_queries_and_values_reach_the_output(tmp_path: Path, bias: str) -> None:
    w = pretrained()
    without = {name: tensor * 0 if name.endswith(bias) else tensor for name, tensor in w.items()}
    loaded = [load_backbone(None, pretraining_file(tmp_path / "x.pth", tensors)) for tensors in (w, without)]
    first, second = (embedded(backbone, clips()) for backbone in loaded)
    assert (first - second).abs().max() > 0.02
    expected = tokens_of(in_the_library(without), clips()).mean(1)
    assert_close(second, F.layer_norm(expected, (DIM,), eps=1e-6))


def test_biases_that_are_all_zero_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    w = {name: tensor * 0 if name.endswith(("q_bias", "v_bias")) else tensor for name, tensor in pretrained().items()}
    with caplog.at_level(logging.WARNING):
        backbone = load_backbone(None, pretraining_file(tmp_path / "x.pth", w))
    assert "all query and value biases of the file are zero" in caplog.text
    assert "all query and value biases" in backbone.weights.notes[0]


@pytest.mark.parametrize("style", ["as saved", "q_bias", "query.bias"])
@pytest.mark.parametrize("kind", [VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel])
def test_files_of_the_transformers_library_load(tmp_path: Path, kind: Any, style: str) -> None:
    classified = kind is VideoMAEForVideoClassification
    model = randomised(kind(config(use_mean_pooling=classified, num_labels=5)))
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if style != "as saved":  # older versions of the library write the one, newer the other
        letters = {"query": "q", "value": "v"}
        tensors = load_file(path)
        for part, letter in letters.items():
            long, short = f"{part}.bias", f"{letter}_bias"
            old, new = (long, short) if style == "q_bias" else (short, long)
            tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
        assert any(name.endswith(style) for name in tensors)
        save_file(tensors, path)
    backbone = load_backbone(None, path)
    inner = model if kind is VideoMAEModel else model.videomae
    inner.layernorm = None  # the norm of tokens, which the embedding leaves out
    mean = tokens_of(inner, clips()).mean(1)
    expected = model.fc_norm(mean).detach() if classified else F.layer_norm(mean, (DIM,), eps=1e-6)
    assert_close(embedded(backbone, clips()), expected)
    report = backbone.weights.report
    assert report is not None
    assert report.format == f"transformers file, {'fine-tuned' if classified else 'pretrained'}"
    assert ("classifier" in report.unused_parts()) == classified


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("encoder.blocks.1.attn.q_bias", "renamed", "unknown 2 (blocks.1.attn.q_byas, blocks.1.attn.v_bias)"),
        ("encoder.blocks.1.attn.v_bias", "missing", "missing 1 of 50 tensors (blocks.1.attn.qkv.bias)"),
        ("encoder.blocks.1.attn.qkv.weight", "transposed", "blocks.1.attn.qkv.weight is [128, 384], expected [384"),
        ("encoder.blocks.0.norm1.weight", "renamed", "blocks.0.norm1.wait"),
        ("encoder.patch_embed.proj.weight", "missing", "missing 1 of 50 tensors (patch_embed.proj.weight)"),
        ("encoder.patch_embed.proj.weight", "transposed", "patch_embed.proj.weight is [3, 128, 2, 8, 8]"),
        ("encoder.patch_embed.proj.bias", "missing", "patch_embed.proj.bias"),
        ("encoder.blocks.3.mlp.fc1.weight", "transposed", "[128, 512], expected [512, 128]"),
    ],
)
def test_a_damaged_pretraining_file_is_refused(tmp_path: Path, name: str, how: str, said: str) -> None:
    state = {f"encoder.{key}": tensor for key, tensor in pretrained().items()} | random_tensors(BESIDE)
    torch.save({"model": damaged(state, name, how)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as caught:
        load_backbone(None, tmp_path / "x.pth")
    assert said in str(caught.value)
    assert str(tmp_path / "x.pth") in str(caught.value)


@pytest.mark.parametrize("how", ["renamed", "missing", "transposed"])
@pytest.mark.parametrize("name", ["blocks.2.mlp.fc2.weight", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
def test_a_damaged_fine_tuned_file_is_refused(tmp_path: Path, name: str, how: str) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", damaged(fine_tuned(), name, how))
    for backbone in (None, "videomae"):
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            load_backbone(backbone, path)


def test_tensors_beside_the_encoder_that_are_not_known_are_refused(tmp_path: Path) -> None:
    state = {f"encoder.{name}": tensor for name, tensor in pretrained().items()}
    state["blocks.1.norm1.bias"] = state.pop("encoder.blocks.1.norm1.bias")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"unknown 1 beside encoder.\* \(blocks.1.norm1.bias\)"):
        load_backbone("videomae", tmp_path / "x.pth")


def test_two_norms_for_one_are_refused(tmp_path: Path) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", fine_tuned() | random_tensors({"norm.weight": (DIM,)}))
    with pytest.raises(CheckpointError, match=r"unknown 1 \(\S+ \(another norm\.weight\)\)"):
        load_backbone("videomae", path)


def test_a_fine_tuned_file_has_no_norm_of_tokens(tmp_path: Path) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", fine_tuned())
    with pytest.raises(CheckpointError, match=r"is fine-tuned.*leave out -token-norm"):
        load_backbone("videomae:tiny-token-norm", path)


def test_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = pretraining_file(tmp_path / "x.pth", pretrained())
    with pytest.raises(CheckpointError, match="holds videomae:tiny, not the videomae:base asked for"):
        load_backbone("videomae:base", path)


def test_sizes_without_a_name_are_called_by_width_and_depth(tmp_path: Path) -> None:
    w = encoder(2, separate_biases=True, norm="norm", dim=64, depth=2)
    backbone = load_backbone(None, pretraining_file(tmp_path / "x.pth", w))
    assert (backbone.variant, backbone.embed_dim, backbone.clip_spec.crop) == ("64x2", 64, 32)


def test_a_width_whose_heads_nobody_knows_is_refused(tmp_path: Path) -> None:
    w = encoder(2, separate_biases=True, norm="norm", dim=96, depth=2)
    with pytest.raises(CheckpointError, match=r"width 96, 2 blocks.*multiple of 64"):
        load_backbone(None, pretraining_file(tmp_path / "x.pth", w))


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"holds no encoder.*fc.weight"):
        load_backbone("videomae", tmp_path / "x.pth")


def test_other_clips_have_sinusoids_of_their_own_length_and_that_is_said(tmp_path: Path) -> None:
    w = pretrained()
    backbone = load_backbone(None, pretraining_file(tmp_path / "x.pth", w))
    model = in_the_library(w)
    longer = VideoMAEModel(VideoMAEConfig(**{**model.config.to_dict(), "num_frames": 32}))
    longer.load_state_dict(model.state_dict())
    expected = tokens_of(longer.eval(), clips(32)).mean(1)
    assert_close(embedded(backbone, clips(32)), F.layer_norm(expected, (DIM,), eps=1e-6))
    assert backbone.adaptations(backbone.clip_spec) == ()
    assert backbone.adaptations(ClipSpec(num_frames=32, short_side=32, crop=32)) == (
        "sinusoid positions computed for 16 x 4 x 4 tokens (time x rows x columns) in place of 8 x 4 x 4",
    )
    with pytest.raises(BackboneError, match=r"videomae:tiny: .*multiple of 2 frames, got 5"):
        backbone.adaptations(ClipSpec(num_frames=5, short_side=32, crop=32))


def test_every_size_is_the_official_one() -> None:
    shapes = {name: (s.embed_dim, s.depth, s.num_heads, s.mlp_dim) for name, s in SIZES.items() if "-" not in name}
    assert shapes == {
        "base": (768, 12, 12, 3072),
        "small": (384, 12, 6, 1536),
        "large": (1024, 24, 16, 4096),
        "huge": (1280, 32, 16, 5120),
        "tiny": (128, 4, 2, 512),
    }
    assert FAMILY.variants[0] == "base"


def test_random_initialisation_is_a_control_that_says_what_it_is() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (load_backbone("videomae:tiny", seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weights.name == "random init (seed 4)"
    assert first.weights == again.weights
    assert torch.equal(embedded(first, clips()), embedded(again, clips()))
    assert first.weights.sha256 != other.weights.sha256


def test_every_parameter_has_a_layer() -> None:
    backbone = load_backbone("videomae:tiny-token-norm")
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == set(range(6))
    assert layers["network.patch_embed.proj.weight"] == 0
    assert layers["network.norm.weight"] == 5
