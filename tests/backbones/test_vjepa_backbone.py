"""V-JEPA from files as its authors save them, against its forward in full."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.joint_files import DIM, Tensors, clips, damaged, encoder, random_tensors, tokens
from tests.support.plain_layers import layer_norm
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.vjepa import SIZES, matches
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.joint_vit import JointViT
from tvts_bench.video.spec import ClipSpec


def target(places: int = 8 * 16) -> Tensors:
    return encoder(2, separate_biases=False, norm="norm") | random_tensors({"pos_embed": (1, places, DIM)})


def official_file(path: Path, w: Tensors) -> Path:
    """The trained encoder beside its average, with the prefixes of both wrappers."""
    trained = {f"module.backbone.{name}": tensor + 1 for name, tensor in w.items()}
    averaged = {f"module.backbone.{name}": tensor for name, tensor in w.items()}
    predictor = {"module.backbone.predictor_embed.weight": torch.zeros(2, 2)}
    parts = {"encoder": trained, "predictor": predictor, "opt": {}, "scaler": None, "target_encoder": averaged}
    torch.save({**parts, "epoch": 300, "loss": 0.4, "batch_size": 2400}, path)
    return path


def expected(w: Tensors, frames: Tensor, positions: Tensor) -> Tensor:
    return layer_norm(tokens(w, frames, positions), w, "norm")


@pytest.mark.parametrize("name", [None, "vjepa", "vjepa:tiny"])
def test_the_averaged_encoder_is_taken(tmp_path: Path, name: str | None) -> None:
    w = target()
    backbone = load_backbone(name, official_file(tmp_path / "vitl16.pth.tar", w))
    normed = expected(w, clips(), w["pos_embed"])
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips()), normed.mean(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(backbone.tokens(clips()), normed, rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant) == ("vjepa", "tiny")
    assert backbone.weights.report is not None
    assert (backbone.weights.report.format, backbone.weights.report.used) == (
        "training checkpoint, target encoder",
        len(w),
    )
    assert (backbone.clip_spec.sampling, backbone.clip_spec.stride) == ("dense", 4)


def test_positions_of_other_clips_are_interpolated_and_that_is_said(tmp_path: Path) -> None:
    w = target()
    backbone = load_backbone(None, official_file(tmp_path / "x.pth", w))
    cube = w["pos_embed"].reshape(1, 8, 4, 4, DIM).permute(0, 4, 1, 2, 3)
    positions = F.interpolate(cube, scale_factor=(0.5, 1.5, 1.5), mode="trilinear").flatten(2).transpose(1, 2)
    with torch.inference_mode():
        wanted = expected(w, clips(8, 48), positions).mean(1)
        torch.testing.assert_close(backbone(clips(8, 48)), wanted, rtol=1e-4, atol=1e-5)
    assert backbone.adaptations(ClipSpec(num_frames=8, short_side=48, crop=48)) == (
        "position table 8 x 4 x 4 (time x rows x columns) resampled to 4 x 6 x 6, trilinear",
    )


def test_a_longer_table_means_larger_images(tmp_path: Path) -> None:
    w = target(8 * 36)
    backbone = load_backbone(None, official_file(tmp_path / "x.pth", w))
    assert (backbone.variant, backbone.clip_spec.crop) == ("tiny", 48)
    with torch.inference_mode():
        wanted = expected(w, clips(16, 48), w["pos_embed"]).mean(1)
        torch.testing.assert_close(backbone(clips(16, 48)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["renamed", "missing", "transposed"])
@pytest.mark.parametrize(
    "name", ["blocks.2.attn.qkv.weight", "blocks.0.mlp.fc2.weight", "patch_embed.proj.weight", "pos_embed"]
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, how: str) -> None:
    if (name, how) == ("pos_embed", "renamed"):
        w = target()
        w["positions"] = w.pop("pos_embed")
    else:
        w = damaged(target(), name, how)
    path = official_file(tmp_path / "x.pth", w)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_backbone("vjepa", path)
    if (name, how) != ("pos_embed", "missing"):  # without a name that is a file of V-JEPA 2, which has no table
        with pytest.raises(CheckpointError):
            load_backbone(None, path)


def layout(**changes: tuple[int, ...] | None) -> CheckpointSignature:
    native: dict[str, tuple[int, ...] | None] = {
        "patch_embed.proj.weight": (1024, 3, 2, 16, 16),
        "pos_embed": (1, 8 * 14 * 14, 1024),
        "blocks.0.attn.qkv.bias": (3072,),
    }
    kept = {f"backbone.{name}": shape for name, shape in (native | changes).items() if shape is not None}
    return CheckpointSignature(container="target_encoder", shapes=kept)


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({}, True),
        ({"pos_embed": (1, 8 * 24 * 24, 1280)}, True),
        ({"pos_embed": (1, 32 * 16 * 16, 1024)}, False),
        ({"pos_embed": None}, False),
        ({"cls_token": (1, 1, 1024)}, False),
        ({"patch_embed.proj.weight": (1024, 3, 16, 16)}, False),
    ],
    ids=["vitl16", "vith16-384", "V-JEPA 2", "V-JEPA 2 without a table", "with [CLS]", "an image model"],
)
def test_what_it_is_recognised_by(changes: dict[str, tuple[int, ...] | None], own: bool) -> None:
    assert matches(layout(**changes)) == own


def test_sizes_are_the_official_ones() -> None:
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in JointViT(size).parameters()) for name, size in SIZES.items()}
    # Blocks: 12 D^2 + 13 D; patches: D * 1536 + D; the final norm: 2 D. Positions are fixed and do not count.
    for name, dim, depth in (("large", 1024, 24), ("huge", 1280, 32), ("huge-384", 1280, 32)):
        assert counts[name] == depth * (12 * dim**2 + 13 * dim) + dim * 1536 + dim + 2 * dim
    assert SIZES["huge-384"].grid == (8, 24, 24)
    assert {size.num_heads for name, size in SIZES.items() if name != "tiny"} == {16}
