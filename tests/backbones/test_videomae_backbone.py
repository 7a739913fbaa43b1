"""VideoMAE from official files and from the transformers library's, against that library's own network."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.joint_files import DIM, Tensors, clips, damaged, encoder, random_tensors
from tvts_bench import torchvision_ops  # noqa: F401 - before transformers
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.videomae import FAMILY, SIZES
from tvts_bench.models.checkpoint import CheckpointError, CheckpointMismatchError
from tvts_bench.video.spec import ClipSpec

from transformers import VideoMAEConfig, VideoMAEForPreTraining  # isort: skip
from transformers import VideoMAEForVideoClassification, VideoMAEModel  # isort: skip

BESIDE = {  # what else a pretraining file holds
    "encoder_to_decoder.weight": (64, DIM),
    "mask_token": (1, 1, 64),
    "decoder.blocks.0.attn.q_bias": (64,),
    "decoder.head.bias": (384,),
}


def config(**changes: Any) -> VideoMAEConfig:
    """The library's for our `tiny`, with the norm's epsilon of the official code."""
    given: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_frames": 16, "tubelet_size": 2, "hidden_size": DIM}
    given |= {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 4 * DIM, "layer_norm_eps": 1e-6}
    given |= {"decoder_hidden_size": 64, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    return VideoMAEConfig(**given | {"decoder_intermediate_size": 128} | changes)


def randomised(model: nn.Module) -> Any:
    """No tensor at its initial value, so that none can be forgotten unnoticed."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    model.load_state_dict(random_tensors(shapes), strict=False)  # strict: buffers are no parameters
    return model.eval()


def in_the_library(w: Tensors) -> Any:
    """`VideoMAEModel` without a final norm, holding official tensors."""
    state = {
        "embeddings.patch_embeddings.projection.weight": w["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": w["patch_embed.proj.bias"],
    }
    for i in range(4):
        ours, theirs = f"blocks.{i}.", f"encoder.layer.{i}."
        for part, weight in zip(("query", "key", "value"), w[f"{ours}attn.qkv.weight"].chunk(3), strict=True):
            state[f"{theirs}attention.attention.{part}.weight"] = weight
        state[f"{theirs}attention.attention.query.bias"] = w[f"{ours}attn.q_bias"]
        state[f"{theirs}attention.attention.value.bias"] = w[f"{ours}attn.v_bias"]
        for kind in ("weight", "bias"):
            state[f"{theirs}attention.output.dense.{kind}"] = w[f"{ours}attn.proj.{kind}"]
            state[f"{theirs}layernorm_before.{kind}"] = w[f"{ours}norm1.{kind}"]
            state[f"{theirs}layernorm_after.{kind}"] = w[f"{ours}norm2.{kind}"]
            state[f"{theirs}intermediate.dense.{kind}"] = w[f"{ours}mlp.fc1.{kind}"]
            state[f"{theirs}output.dense.{kind}"] = w[f"{ours}mlp.fc2.{kind}"]
    model = VideoMAEModel(config(use_mean_pooling=True))
    model.load_state_dict(state, strict=True)
    return model.eval()


def tokens_of(model: Any, frames: Tensor) -> Tensor:
    """Of the library's network, which takes time before channels."""
    with torch.inference_mode():
        output: Tensor = model(frames.transpose(1, 2)).last_hidden_state
    return output


def norm(x: Tensor, w: Tensors, name: str) -> Tensor:
    return F.layer_norm(x, (DIM,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)


def pretrained() -> Tensors:
    return encoder(2, separate_biases=True, norm="norm")


def pretraining_file(path: Path, w: Tensors) -> Path:
    """As the official code saves it: what it was called with rides along, as an object."""
    state = {f"encoder.{name}": tensor for name, tensor in w.items()} | random_tensors(BESIDE)
    args = argparse.Namespace(model="pretrain_videomae_base_patch16_224", mask_ratio=0.9)
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 1599, "scaler": {}, "args": args}, path)
    return path


def fine_tuned() -> Tensors:
    return encoder(2, separate_biases=True, norm="fc_norm")


def fine_tuned_file(path: Path, w: Tensors, classes: int = 174) -> Path:
    """As DeepSpeed saves it."""
    head = random_tensors({"head.weight": (classes, DIM), "head.bias": (classes,)})
    torch.save({"module": w | head, "epoch": 29}, path)
    return path


def embedded(backbone: Backbone, frames: Tensor) -> Tensor:
    with torch.inference_mode():
        return backbone(frames)  # type: ignore[no-any-return]


def assert_close(computed: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(computed, expected, rtol=1e-4, atol=1e-5)


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
    with pytest.raises(CheckpointMismatchError) as caught:
        load_backbone(None, tmp_path / "x.pth")
    assert said in str(caught.value)
    assert str(tmp_path / "x.pth") in str(caught.value)


@pytest.mark.parametrize("how", ["renamed", "missing", "transposed"])
@pytest.mark.parametrize("name", ["blocks.2.mlp.fc2.weight", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
def test_a_damaged_fine_tuned_file_is_refused(tmp_path: Path, name: str, how: str) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", damaged(fine_tuned(), name, how))
    for backbone in (None, "videomae"):
        with pytest.raises(CheckpointMismatchError, match=name.replace(".", r"\.")):
            load_backbone(backbone, path)


def test_tensors_beside_the_encoder_that_are_not_known_are_refused(tmp_path: Path) -> None:
    state = {f"encoder.{name}": tensor for name, tensor in pretrained().items()}
    state["blocks.1.norm1.bias"] = state.pop("encoder.blocks.1.norm1.bias")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatchError, match=r"unknown 1 beside encoder.\* \(blocks.1.norm1.bias\)"):
        load_backbone("videomae", tmp_path / "x.pth")


def test_two_norms_for_one_are_refused(tmp_path: Path) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", fine_tuned() | random_tensors({"norm.weight": (DIM,)}))
    with pytest.raises(CheckpointMismatchError, match=r"unknown 1 \(\S+ \(another norm\.weight\)\)"):
        load_backbone("videomae", path)


def test_a_fine_tuned_file_has_no_norm_of_tokens(tmp_path: Path) -> None:
    path = fine_tuned_file(tmp_path / "x.pth", fine_tuned())
    with pytest.raises(CheckpointMismatchError, match=r"is fine-tuned.*leave out -token-norm"):
        load_backbone("videomae:tiny-token-norm", path)


def test_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = pretraining_file(tmp_path / "x.pth", pretrained())
    with pytest.raises(CheckpointMismatchError, match="holds videomae:tiny, not the videomae:base asked for"):
        load_backbone("videomae:base", path)


def test_sizes_without_a_name_are_called_by_width_and_depth(tmp_path: Path) -> None:
    w = encoder(2, separate_biases=True, norm="norm", dim=64, depth=2)
    backbone = load_backbone(None, pretraining_file(tmp_path / "x.pth", w))
    assert (backbone.variant, backbone.embed_dim, backbone.clip_spec.crop) == ("64x2", 64, 32)


def test_a_width_whose_heads_nobody_knows_is_refused(tmp_path: Path) -> None:
    w = encoder(2, separate_biases=True, norm="norm", dim=96, depth=2)
    with pytest.raises(CheckpointMismatchError, match=r"width 96, 2 blocks.*multiple of 64"):
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
