"""MViT from files as SlowFast and torchvision write them, against torchvision's network fed directly."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.mvit import SIZES, MViTFeatures
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from torchvision.models.video import mvit_v1_b  # isort: skip
from torchvision.models.video.mvit import MSBlockConfig, MViT  # isort: skip

KERNEL = [3, 3, 3]


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's network at toy size: three blocks, the second of which halves height and width."""
    blocks = [
        MSBlockConfig(2, 64, 128, [], KERNEL, [], [1, 2, 2]),
        MSBlockConfig(4, 128, 128, KERNEL, KERNEL, [1, 2, 2], [1, 1, 1]),
        MSBlockConfig(4, 128, 128, [], KERNEL, [], [1, 1, 1]),
    ]
    return trained(MViT((32, 32), 16, blocks, False, False, False, False, num_classes=10))


def slowfast(network: nn.Module) -> dict[str, Tensor]:
    """SlowFast's names for torchvision's tensors, and its shapes."""
    state = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "pos_encoding":
            name = {"class_token": "cls_token", "class_pos": "pos_embed_class", "spatial_pos": "pos_embed_spatial"}.get(
                parts[1], "pos_embed_temporal"
            )
            tensor = tensor.reshape(1, -1, tensor.shape[-1])
        elif parts[0] == "conv_proj":
            name = f"patch_embed.proj.{parts[1]}"
        elif parts[0] == "head":
            name = f"head.projection.{parts[-1]}"
        elif parts[0] == "blocks":
            inside = ".".join(parts[2:])
            inside = inside.replace(".pool.weight", ".weight").replace("attn.project.0", "attn.proj")
            inside = inside.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
            if inside.startswith("project."):
                inside = inside.replace("project.", "proj.")
            for part in "qkv":
                inside = inside.replace(f"attn.pool_{part}.norm_act.0", f"attn.norm_{part}")
            name = f"blocks.{parts[1]}.{inside}"
        state[name] = tensor
    return state


def embedded(network: nn.Module, frames: int = 16) -> Tensor:
    """What torchvision's classifier is given."""
    seen: list[Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))  # type: ignore[union-attr]
    with torch.inference_mode():
        network(clips(frames))
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", [None, "mvit", "mvit:tiny"])
@pytest.mark.parametrize("library", ["slowfast", "torchvision"])
def test_features_are_those_of_torchvisions_network(
    tmp_path: Path, theirs: nn.Module, name: str | None, library: str
) -> None:
    if library == "slowfast":
        content = {
            "epoch": 200,
            "model_state": slowfast(theirs),
            "optimizer_state": {},
            "cfg": "TRAIN:\n  ENABLE: True",
        }
    else:
        content = dict(theirs.state_dict())
    backbone = load_backbone(name, saved(tmp_path / "k400.pyth", content))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(16)), embedded(theirs), rtol=1e-4, atol=1e-5)
        assert backbone.tokens(clips(16)).shape == (2, 8 * 4 * 4, 128)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("mvit", "tiny", 128)
    spec = backbone.clip_spec
    assert (spec.num_frames, spec.sampling, spec.stride, spec.crop) == (16, "dense", 4, 32)
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"head": 2}


def test_the_base_network_is_torchvisions() -> None:
    with torch.device("meta"):
        ours, whole = MViTFeatures(SIZES["base_16x4"]).mvit, mvit_v1_b()
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items() if not name.startswith("head.")}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes
    for block, other in zip(ours.blocks, whole.blocks, strict=True):
        for part in ("pool_q", "pool_k", "pool_v"):
            mine, known = getattr(block.attn, part), getattr(other.attn, part)
            assert (mine is None) == (known is None)
            assert mine is None or mine.pool.stride == known.pool.stride
        assert block.attn.num_heads == other.attn.num_heads


def test_other_lengths_and_resolutions_are_taken_and_said(tmp_path: Path, theirs: nn.Module) -> None:
    """Tables without a change in space and time are the same at any size, so that nothing else can differ."""
    backbone = load_backbone("mvit", saved(tmp_path / "x.pyth", {"model_state": slowfast(theirs)}))
    assert backbone.adaptations(backbone.clip_spec) == ()
    assert backbone.adaptations(ClipSpec(num_frames=8, short_side=64, crop=64)) == (
        "position table 8 x 8 resampled to 16 x 16, bicubic, antialiased",
        "table of 8 times resampled to 4, linear",
    )
    with torch.inference_mode():
        assert backbone(clips(8, 64)).shape == (2, 128)
    with pytest.raises(BackboneError, match="multiple of 4 pixels and an even number of frames, not 7 frames of 33"):
        backbone.adaptations(ClipSpec(num_frames=7, short_side=33, crop=33))


def test_flat_tables_stay_flat() -> None:
    network = load_backbone("mvit:tiny").network
    assert isinstance(network, MViTFeatures)
    tables = network.mvit.pos_encoding
    with torch.no_grad():
        tables.spatial_pos.fill_(2.0)
        tables.temporal_pos.fill_(3.0)
        positions = network._positions(4, 12, 12)
    assert positions.shape == (1, 1 + 4 * 12 * 12, 64)
    torch.testing.assert_close(positions[:, 1:], torch.full((1, 4 * 12 * 12, 64), 5.0))
    torch.testing.assert_close(positions[:, 0], tables.class_pos[None])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, theirs: nn.Module, change: str) -> None:
    state = altered(slowfast(theirs), "blocks.1.mlp.fc2.weight", change)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.3\.weight"):
        load_backbone(None, saved(tmp_path / "x.pyth", {"model_state": state}))


def test_a_size_that_cannot_be_or_was_not_asked_for_is_refused(tmp_path: Path, theirs: nn.Module) -> None:
    path = saved(tmp_path / "x.pyth", {"model_state": slowfast(theirs)})
    with pytest.raises(CheckpointError, match="holds mvit:tiny, not the mvit:base_16x4 asked for"):
        load_backbone("mvit:base_16x4", path)
    odd = slowfast(theirs) | {"blocks.1.norm1.weight": torch.ones(100)}
    with pytest.raises(CheckpointError, match="a width of 100 is no multiple of the heads' 32"):
        load_backbone("mvit", saved(path, {"model_state": odd}))


def test_every_parameter_has_a_layer() -> None:
    backbone = load_backbone("mvit:tiny")
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3, 4}
    assert layers["network.mvit.norm.weight"] == 4
