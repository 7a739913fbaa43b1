"""DINOv3 from files in the official layout, against transformers' own DINOv3."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.dinov3 import SIZES, build
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from transformers import DINOv3ViTConfig, DINOv3ViTModel  # isort: skip

D = 128


def theirs(gated: bool = False) -> nn.Module:
    config = DINOv3ViTConfig(
        hidden_size=D,
        intermediate_size=344 if gated else 512,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=8,
        num_register_tokens=4,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )
    return trained(DINOv3ViTModel(config))


NAMES = {
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.o_proj": "attn.proj",
}
PLAIN = {"mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2"}
GATED = {"mlp.gate_proj": "mlp.w1", "mlp.up_proj": "mlp.w2", "mlp.down_proj": "mlp.w3"}


def official(network: nn.Module, gated: bool = False) -> dict[str, Tensor]:
    """The official names for the tensors of transformers' network, and the constants that official files carry."""
    of = network.state_dict()
    state = {
        "cls_token": of["embeddings.cls_token"],
        "storage_tokens": of["embeddings.register_tokens"],
        "mask_token": of["embeddings.mask_token"][0],
        "rope_embed.periods": torch.linspace(1, 50, D // 2 // 4),
        "patch_embed.proj.weight": of["embeddings.patch_embeddings.weight"],
        "patch_embed.proj.bias": of["embeddings.patch_embeddings.bias"],
        "norm.weight": of["norm.weight"],
        "norm.bias": of["norm.bias"],
    }
    for name, tensor in of.items():
        if "layer." not in name or ".attention.q_proj" in name or ".k_proj" in name or ".v_proj" in name:
            continue
        ours = "blocks." + name.split("layer.", 1)[1]
        for old, new in (NAMES | (GATED if gated else PLAIN)).items():
            ours = ours.replace(old, new)
        state[ours] = tensor
    prefix = next(name for name in of if "layer.0." in name).split("layer.0.")[0]
    for i in range(2):
        q, k, v = (f"{prefix}layer.{i}.attention.{part}_proj" for part in "qkv")
        state[f"blocks.{i}.attn.qkv.weight"] = torch.cat([of[f"{part}.weight"] for part in (q, k, v)])
        masked = torch.full((D,), 7.0)  # whatever stands there: the mask takes it away
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([of[f"{q}.bias"], masked, of[f"{v}.bias"]])
        state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.cat([torch.ones(D), torch.zeros(D), torch.ones(D)])
    return state


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("size", [32, 48])
def test_features_are_those_of_transformers_network(tmp_path: Path, gated: bool, size: int) -> None:
    network = theirs(gated)
    backbone = load_backbone(None, saved(tmp_path / "dinov3_vitb16.pth", official(network, gated)))
    with torch.inference_mode():
        out = network(clips(size=size).transpose(1, 2).flatten(0, 1)).last_hidden_state
        expected = out[:, 0].unflatten(0, (2, 3)).mean(1)
        torch.testing.assert_close(backbone(clips(size=size)), expected, rtol=1e-4, atol=1e-5)
        tokens = backbone.tokens(clips(size=size))
    torch.testing.assert_close(tokens, out[:, 5:].unflatten(0, (2, 3)).flatten(1, 2), rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant) == ("dinov3", "128x2" if gated else "tiny")
    assert backbone.adaptations(ClipSpec(short_side=size, crop=size)) == ()  # rotary positions fit any resolution
    assert backbone.weights.report is not None
    assert set(backbone.weights.report.unused_parts()) == {"mask_token", "rope_embed", "blocks"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, change: str) -> None:
    state = altered(official(theirs()), "blocks.1.mlp.fc1.weight", change)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc1\.weight"):
        load_backbone(None, saved(tmp_path / "x.pth", state))


def test_a_classifier_is_set_aside_and_another_size_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", official(theirs()) | {"head.weight": torch.zeros(10, D)})
    report = load_backbone("dinov3", path).weights.report
    assert report is not None
    assert "head.weight" in report.unexpected
    with pytest.raises(CheckpointError, match="holds dinov3:tiny, not the dinov3:small asked for"):
        load_backbone("dinov3:small", path)


def test_the_sizes_are_the_official_ones() -> None:
    counts = {}
    for name in ("small", "base", "small_plus"):
        with torch.device("meta"):
            counts[name] = sum(parameter.numel() for parameter in build(SIZES[name]).parameters())
    # transformers' networks of these names, less the mask token
    assert counts == {name: transformers_size(name) for name in counts}


def transformers_size(name: str) -> int:
    size = SIZES[name]
    with torch.device("meta"):
        network = DINOv3ViTModel(
            DINOv3ViTConfig(
                hidden_size=384 if name.startswith("small") else 768,
                intermediate_size=1536 if name.startswith("small") else 3072,
                num_attention_heads=size.num_heads,
                use_gated_mlp=name.endswith("plus"),
                num_register_tokens=4,
            )
        )
    return sum(p.numel() for key, p in network.named_parameters() if "mask_token" not in key)
