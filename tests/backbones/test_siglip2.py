"""SigLIP 2 from files in the layout of the Hub, against transformers' own SigLIP."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, trained
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.siglip2 import SIZES, build
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from transformers import SiglipVisionConfig, SiglipVisionModel  # isort: skip

D = 128
TEXT = {"text_model.embeddings.token_embedding.weight": torch.zeros(9, 32), "logit_scale": torch.ones(1)}


def theirs(heads: int = 2, width: int = D, depth: int = 2) -> nn.Module:
    config = SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=4 * D if width == D else 64,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        image_size=32,
        patch_size=8,
    )
    return trained(SiglipVisionModel(config))


def official(network: nn.Module) -> dict[str, Tensor]:
    """Names as in the Hub's files, where the encoder of images lies beside that of texts."""
    names = {name: f"vision_model.{name.removeprefix('vision_model.')}" for name in network.state_dict()}
    return {names[name]: tensor.contiguous() for name, tensor in network.state_dict().items()} | TEXT


def written(path: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, path)
    return path


def test_features_are_those_of_transformers_network(tmp_path: Path) -> None:
    network = theirs()
    backbone = load_backbone(None, written(tmp_path / "model.safetensors", official(network)))
    with torch.inference_mode():
        out = network(clips().transpose(1, 2).flatten(0, 1))
        pooled = out.pooler_output.unflatten(0, (2, 3)).mean(1)
        torch.testing.assert_close(backbone(clips()), pooled, rtol=1e-4, atol=1e-5)
        expected = out.last_hidden_state.unflatten(0, (2, 3)).flatten(1, 2)
        torch.testing.assert_close(backbone.tokens(clips()), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("siglip2", "tiny", D)
    assert (backbone.clip_spec.resize, backbone.clip_spec.mean) == ("squash", (0.5, 0.5, 0.5))
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"text_model": 1, "logit_scale": 1}


def test_wider_heads_are_known_by_the_width(tmp_path: Path) -> None:
    """so400m has heads of 72 channels: nothing in the file tells, and 64 would give other features without an error."""
    network = theirs(heads=16, width=1152, depth=1)
    backbone = load_backbone("siglip2", written(tmp_path / "model.safetensors", official(network)))
    with torch.inference_mode():
        pooled = network(clips().transpose(1, 2).flatten(0, 1)).pooler_output.unflatten(0, (2, 3)).mean(1)
        torch.testing.assert_close(backbone(clips()), pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name", ["encoder.layers.1.mlp.fc2.weight", "head.mlp.fc1.weight", "head.attention.in_proj_weight"]
)
def test_a_changed_tensor_is_refused(tmp_path: Path, name: str, change: str) -> None:
    path = written(tmp_path / "x.safetensors", altered(official(theirs()), f"vision_model.{name}", change))
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_backbone(None, path)


@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_a_missing_projection_is_refused(tmp_path: Path, kind: str) -> None:
    state = official(theirs())
    del state[f"vision_model.encoder.layers.0.self_attn.k_proj.{kind}"]
    with pytest.raises(CheckpointError, match=rf"blocks\.0\.attn\.qkv\.{kind}.*self_attn\.q_proj\.{kind}"):
        load_backbone(None, written(tmp_path / "x.safetensors", state))


def test_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", official(theirs()))
    with pytest.raises(CheckpointError, match="holds siglip2:tiny, not the siglip2:base asked for"):
        load_backbone("siglip2:base", path)


def test_other_resolutions_are_taken_and_said() -> None:
    backbone = load_backbone("siglip2:tiny")
    assert backbone(clips(size=48)).shape == (2, D)
    said = backbone.adaptations(ClipSpec(short_side=48, crop=48))
    assert said == ("position table 4 x 4 resampled to 6 x 6, bicubic, antialiased",)


def test_every_parameter_has_a_layer() -> None:
    backbone = load_backbone("siglip2:tiny")
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3}
    assert layers["network.image.vit.attn_pool.latent"] == 3


def test_the_base_network_has_the_official_size() -> None:
    with torch.device("meta"):
        network = build(SIZES["base"])
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == 92.88
