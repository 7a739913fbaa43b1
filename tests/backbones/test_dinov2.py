"""DINOv2 from files in the official layout, against timm's network fed directly and the official resampling."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.altered import CHANGES, altered, clips, saved, trained
from tvts_bench.backbones.dinov2 import SIZES, build
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

from timm.layers import SwiGLUPacked  # type: ignore[attr-defined]  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

D, PATCH, GRID = 128, 8, 4


def timms(registers: int = 0, gated: bool = False, grid: int = GRID) -> VisionTransformer:
    """timm's DINOv2 at toy size, [CLS] with its place in the table unless there are registers, as timm has it."""
    other = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 5.375} if gated else {}
    return VisionTransformer(
        img_size=grid * PATCH,
        patch_size=PATCH,
        embed_dim=D,
        depth=2,
        num_heads=2,
        init_values=1e-5,
        num_classes=0,
        reg_tokens=registers,
        no_embed_class=registers > 0,
        **other,  # type: ignore[arg-type]
    )


def official(network: nn.Module) -> dict[str, Tensor]:
    """The official names for timm's tensors."""
    state = dict(network.state_dict())
    if "reg_token" in state:
        first = torch.randn(1, 1, D, generator=torch.Generator().manual_seed(1))
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([first, state["pos_embed"]], dim=1)
        state["cls_token"] = state["cls_token"] - first
    gated = any(name.endswith("mlp.fc1.weight") and tensor.shape == (688, D) for name, tensor in state.items())
    if gated:
        state = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t for name, t in state.items()}
    return state | {"mask_token": torch.zeros(1, D)}


def averaged(network: nn.Module, size: int = 32) -> Tensor:
    with torch.inference_mode():
        return network(clips(size=size).transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 3)).mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("registers", "gated"), [(0, False), (4, False), (0, True)])
def test_features_are_those_of_timms_network(tmp_path: Path, registers: int, gated: bool) -> None:
    network = trained(timms(registers, gated))
    backbone = load_backbone(None, saved(tmp_path / "dinov2_vitb14_pretrain.pth", official(network)))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips()), averaged(network), rtol=1e-4, atol=1e-5)
        tokens = backbone.tokens(clips())
        expected = network.forward_features(clips().transpose(1, 2).flatten(0, 1))  # type: ignore[operator]
    torch.testing.assert_close(tokens.unflatten(1, (3, 16))[1, 2], expected[5, 1 + registers :], rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.embed_dim) == ("dinov2", D)
    assert backbone.variant == ("128x2" if registers or gated else "tiny")
    assert backbone.weights.report is not None
    assert backbone.weights.report.unexpected == ("mask_token",)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size", [24, 48])
def test_positions_are_resampled_as_by_the_official_code(tmp_path: Path, registers: int, size: int) -> None:
    """The sizes are shrunk and grown; timm's network gets a table that was resampled here by the official rule."""
    state = official(trained(timms(registers)))
    backbone = load_backbone("dinov2", saved(tmp_path / "x.pth", state))
    side = size // PATCH
    table = state["pos_embed"][:, 1:].reshape(1, GRID, GRID, D).permute(0, 3, 1, 2)
    if registers:
        table = F.interpolate(table, size=(side, side), mode="bicubic", antialias=True)
    else:
        table = F.interpolate(table, scale_factor=((side + 0.1) / GRID,) * 2, mode="bicubic", antialias=False)
    patches = table.permute(0, 2, 3, 1).reshape(1, side * side, D)
    theirs = timms(registers, grid=side).eval()
    own = {name.replace("register_tokens", "reg_token"): t for name, t in state.items() if name != "mask_token"}
    if registers:
        own["cls_token"] = own["cls_token"] + state["pos_embed"][:, :1]
        own["pos_embed"] = patches
    else:
        own["pos_embed"] = torch.cat([state["pos_embed"][:, :1], patches], dim=1)
    theirs.load_state_dict(own)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips(size=size)), averaged(theirs, size), rtol=1e-4, atol=1e-5)
    (said,) = backbone.adaptations(ClipSpec(short_side=size, crop=size))
    assert said.startswith(f"position table 4 x 4 resampled to {side} x {side}, bicubic")
    assert ("not antialiased" in said) == (registers == 0)


def test_a_classifier_is_set_aside(tmp_path: Path) -> None:
    head = {"head.weight": torch.zeros(10, D), "head.bias": torch.zeros(10)}
    backbone = load_backbone(None, saved(tmp_path / "x.pth", {"model": official(trained(timms())) | head}))
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"head": 2, "mask_token": 1}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tensor_is_refused(tmp_path: Path, change: str) -> None:
    state = altered(official(trained(timms())), "blocks.1.mlp.fc2.weight", change)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc2\.weight"):
        load_backbone(None, saved(tmp_path / "x.pth", state))


def test_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds dinov2:128x2, not the dinov2:tiny asked for"):
        load_backbone("dinov2:tiny", saved(tmp_path / "x.pth", official(trained(timms(registers=4)))))


def test_the_base_network_has_the_official_size_and_input() -> None:
    with torch.device("meta"):
        network = build(SIZES["base"])
    # without the mask token, and with the place of [CLS] added to it
    assert sum(parameter.numel() for parameter in network.parameters()) == 86_580_480 - 2 * 768
    assert SIZES["base_reg"].registers == 4
    spec = load_backbone("dinov2:tiny").clip_spec
    assert (spec.short_side, spec.crop) == (32, 32)
