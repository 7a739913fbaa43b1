"""CLIP from files as OpenAI writes them, against transformers' own CLIP."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.clip import PROJECTED, build
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # isort: skip

CONFIG = CLIPVisionConfig(
    hidden_size=128,
    intermediate_size=512,
    projection_dim=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=32,
    patch_size=8,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
)
BLOCK = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
TEXT = {
    "positional_embedding": torch.zeros(77, 32),
    "text_projection": torch.zeros(32, 64),
    "logit_scale": torch.tensor(4.6),
    "transformer.resblocks.0.attn.in_proj_weight": torch.zeros(96, 32),
    "transformer.resblocks.0.ln_1.weight": torch.ones(32),
    "token_embedding.weight": torch.zeros(10, 32),
    "ln_final.weight": torch.ones(32),
    "input_resolution": torch.tensor(32),
    "context_length": torch.tensor(77),
    "vocab_size": torch.tensor(10),
}


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """transformers' network, with values that half precision holds exactly."""
    network = trained(CLIPVisionModelWithProjection(CONFIG))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())
    return network


def official(network: nn.Module) -> dict[str, Tensor]:
    """OpenAI's names for the tensors of transformers' network, with a text encoder beside them."""
    of = {name.removeprefix("vision_model."): tensor for name, tensor in network.state_dict().items()}
    state = {
        "visual.class_embedding": of["embeddings.class_embedding"],
        "visual.conv1.weight": of["embeddings.patch_embedding.weight"],
        "visual.positional_embedding": of["embeddings.position_embedding.weight"],
        "visual.proj": of["visual_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        state[f"visual.ln_pre.{kind}"] = of[f"pre_layrnorm.{kind}"]
        state[f"visual.ln_post.{kind}"] = of[f"post_layernorm.{kind}"]
        for i in range(CONFIG.num_hidden_layers):
            layer, block = f"encoder.layers.{i}.", f"visual.transformer.resblocks.{i}."
            qkv = [of[f"{layer}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            state[f"{block}attn.in_proj_{kind}"] = torch.cat(qkv)
            state[f"{block}attn.out_proj.{kind}"] = of[f"{layer}self_attn.out_proj.{kind}"]
            state |= {f"{block}{ours}.{kind}": of[f"{layer}{their}.{kind}"] for ours, their in BLOCK.items()}
    return state | TEXT


class Archived(nn.Module):
    """A module with tensors of any dotted names, which is what a TorchScript archive keeps of one."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for part in dict.fromkeys(name.split(".")[0] for name in state if "." in name):
            inner = {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
            self.add_module(part, Archived(inner))
        for name, tensor in state.items():
            if "." not in name:
                self.register_buffer(name, tensor.half() if tensor.is_floating_point() else tensor)

    def forward(self, images: Tensor) -> Tensor:
        return images * 1


def archived(path: Path, state: dict[str, Tensor]) -> Path:
    """A TorchScript archive in half precision, as OpenAI's files are."""
    torch.jit.trace(Archived(state), torch.zeros(1)).save(str(path))
    return path


def embedded(network: nn.Module, projected: bool) -> Tensor:
    """The mean over frames of the library's embeddings."""
    with torch.inference_mode():
        out = network(clips().transpose(1, 2).flatten(0, 1), output_hidden_states=True)
        if projected:
            return out.image_embeds.unflatten(0, (2, 3)).mean(1)  # type: ignore[no-any-return]
        last = network.vision_model.post_layernorm(out.last_hidden_state[:, 0])  # type: ignore[union-attr,operator]
        return last.unflatten(0, (2, 3)).mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [None, "clip", "clip:tiny"])
def test_openais_archive_gives_the_projected_embedding(tmp_path: Path, theirs: nn.Module, name: str | None) -> None:
    backbone = load_backbone(name, archived(tmp_path / "ViT-B-16.pt", official(theirs)))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips()), embedded(theirs, True), rtol=1e-4, atol=1e-5)
        assert backbone.tokens(clips()).shape == (2, 3 * 16, 64)
    report = backbone.weights.report
    assert report is not None
    assert report.format == "TorchScript archive"
    assert set(report.unexpected) == set(TEXT)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("clip", "tiny", 64)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_the_wider_embedding_before_the_projection(tmp_path: Path, theirs: nn.Module) -> None:
    backbone = load_backbone("clip:tiny_ln_post", saved(tmp_path / "x.pt", official(theirs)))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips()), embedded(theirs, False), rtol=1e-4, atol=1e-5)
    assert backbone.weights.report is not None
    assert "visual.proj" in backbone.weights.report.unexpected
    assert (backbone.variant, backbone.embed_dim) == ("tiny_ln_post", 128)


def test_a_file_that_is_not_openais_own_is_loaded_with_a_warning(
    tmp_path: Path, theirs: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    state = {name: tensor for name, tensor in official(theirs).items() if name != "input_resolution"}
    load_backbone(None, saved(tmp_path / "x.pt", {"state_dict": {f"module.{name}": t for name, t in state.items()}}))
    assert "quick GELU is assumed" in caplog.text


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, theirs: nn.Module, change: str) -> None:
    state = altered(official(theirs), "visual.transformer.resblocks.1.mlp.c_fc.weight", change)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc1\.weight"):
        load_backbone(None, saved(tmp_path / "x.pt", state))


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("visual.ln_post.weight", torch.ones(100), "100 entries, expected a multiple of 64"),
        ("visual.proj", None, r"has no visual\.proj"),
        ("visual.positional_embedding", torch.zeros(16, 128), "has 15 places for patches, not a square"),
        ("visual.conv1.weight", torch.zeros(128, 192), r"is \[128, 192\], expected 4 dimensions"),
    ],
)
def test_a_size_that_cannot_be_told_is_refused(
    tmp_path: Path, theirs: nn.Module, name: str, tensor: Tensor | None, said: str
) -> None:
    state = {key: value for key, value in official(theirs).items() if key != name}
    with pytest.raises(CheckpointError, match=said):
        load_backbone("clip", saved(tmp_path / "x.pt", state | ({} if tensor is None else {name: tensor})))


def test_another_size_than_asked_for_is_refused(tmp_path: Path, theirs: nn.Module) -> None:
    with pytest.raises(CheckpointError, match="holds clip:tiny, not the clip:base asked for"):
        load_backbone("clip:base", saved(tmp_path / "x.pt", official(theirs)))


def test_other_resolutions_are_taken_and_said() -> None:
    backbone = load_backbone("clip:tiny")
    assert backbone.adaptations(ClipSpec(short_side=32, crop=32)) == ()
    said = backbone.adaptations(ClipSpec(short_side=48, crop=48))
    assert said == ("position table 4 x 4 resampled to 6 x 6, bicubic, antialiased",)
    assert backbone(clips(size=48)).shape == (2, 64)
    with pytest.raises(BackboneError, match="multiple of 8 pixels, not 44: set the crop to 40"):
        backbone.adaptations(ClipSpec(short_side=44, crop=44))


def test_every_parameter_has_a_layer() -> None:
    backbone = load_backbone("clip:tiny")
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3}
    assert layers["network.image.vit.norm_pre.weight"] == 0
    assert layers["network.image.vit.blocks.1.norm1.weight"] == 2
    assert layers["network.image.head.weight"] == layers["network.image.vit.norm.bias"] == 3


def test_the_base_network_is_openais_in_size() -> None:
    with torch.device("meta"):
        network = build(PROJECTED["base"])
    assert sum(parameter.numel() for parameter in network.parameters()) == 86_192_640
