"""UMT from official files, against its forward in full: tubes of one frame, positions resampled in space, then time."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.joint_files import DIM, Tensors, clips, damaged, encoder, random_tensors, tokens, unit_norm
from tests.support.plain_layers import layer_norm
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.joint_vit import sinusoid
from tvts_bench.video.spec import ClipSpec

HEAD = {"head.weight": (400, DIM), "head.bias": (400,)}


def pretraining_file(path: Path, w: Tensors) -> Path:
    decoders = {"clip_decoder.0.head.weight": (512, DIM), "clip_decoder.0.norm.bias": (512,)}
    state = {f"encoder.{name}": tensor for name, tensor in w.items()} | random_tensors(decoders)
    torch.save({"model": state, "optimizer": {}, "epoch": 199, "args": argparse.Namespace(mask_ratio=0.8)}, path)
    return path


def fine_tuned(**more: tuple[int, ...]) -> Tensors:
    return encoder(1, separate_biases=True, norm="fc_norm") | random_tensors(more)


def assert_embeds(path: Path, frames: Tensor, expected: Tensor, name: str | None = None) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(load_backbone(name, path)(frames), expected, rtol=1e-4, atol=1e-5)


def test_a_pretrained_file_loads_either_way(tmp_path: Path) -> None:
    w = encoder(1, separate_biases=True, norm="norm")
    path = pretraining_file(tmp_path / "b16_ptk710_f8_res224.pth", w)
    frames = clips(8)
    last = tokens(w, frames, sinusoid(8 * 16, DIM))
    assert_embeds(path, frames, unit_norm(last.mean(1)))
    assert_embeds(path, frames, layer_norm(last, w, "norm").mean(1), "umt:tiny-token-norm")
    backbone = load_backbone(None, path)
    assert (backbone.family, backbone.variant, backbone.clip_spec.num_frames) == ("umt", "tiny", 8)
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"clip_decoder": 2, "norm": 2}


def test_a_fine_tuned_file_loads(tmp_path: Path) -> None:
    w = fine_tuned()
    torch.save({"module": w | random_tensors(HEAD)}, tmp_path / "x.pth")
    frames = clips(8)
    expected = layer_norm(tokens(w, frames, sinusoid(8 * 16, DIM)).mean(1), w, "fc_norm")
    assert_embeds(tmp_path / "x.pth", frames, expected)
    report = load_backbone(None, tmp_path / "x.pth").weights.report
    assert report is not None
    assert report.unexpected == tuple(HEAD)


def stretched(table: Tensor, old: int, new: int) -> Tensor:
    """Positions [1, old * P, D] for `new` frames, place by place."""
    lines = table.reshape(old, -1, DIM).permute(1, 2, 0)  # [P, D, old]
    return F.interpolate(lines, size=new, mode="linear").permute(2, 0, 1).reshape(1, -1, DIM)


def test_twice_the_frames_stretch_the_positions(tmp_path: Path) -> None:
    w = fine_tuned()
    torch.save({"model": w | random_tensors(HEAD)}, tmp_path / "x.pth")
    positions = stretched(sinusoid(8 * 16, DIM), 8, 16)
    expected = layer_norm(tokens(w, clips(16), positions).mean(1), w, "fc_norm")
    assert_embeds(tmp_path / "x.pth", clips(16), expected)
    backbone = load_backbone(None, tmp_path / "x.pth")
    assert backbone.adaptations(ClipSpec(num_frames=16, short_side=32, crop=32)) == (
        "position table 8 x 4 x 4 (time x rows x columns) resampled to 16 x 4 x 4, linear in time",
    )


@pytest.mark.parametrize(("frames", "size"), [(16, 32), (8, 48), (32, 48)])
def test_a_file_fine_tuned_with_other_clips_brings_its_table(tmp_path: Path, frames: int, size: int) -> None:
    w = fine_tuned(pos_embed=(1, frames * (size // 8) ** 2, DIM))
    torch.save({"model": w | random_tensors(HEAD)}, tmp_path / "x.pth")
    own = clips(frames, size)
    assert_embeds(tmp_path / "x.pth", own, layer_norm(tokens(w, own, w["pos_embed"]).mean(1), w, "fc_norm"))
    backbone = load_backbone(None, tmp_path / "x.pth")
    assert (backbone.variant, backbone.clip_spec.num_frames, backbone.clip_spec.crop) == ("tiny", frames, size)


@pytest.mark.parametrize("how", ["renamed", "missing", "transposed"])
@pytest.mark.parametrize("name", ["encoder.blocks.2.mlp.fc1.weight", "encoder.patch_embed.proj.weight"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, how: str) -> None:
    state = {f"encoder.{key}": tensor for key, tensor in encoder(1, separate_biases=True, norm="norm").items()}
    torch.save({"model": damaged(state, name, how)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=name.removeprefix("encoder.").replace(".", r"\.")):
        load_backbone("umt", tmp_path / "x.pth")


@pytest.mark.parametrize("places", [1, 7, 8 * 16 + 1])
def test_a_table_of_no_clip_is_refused(tmp_path: Path, places: int) -> None:
    torch.save({"model": fine_tuned(pos_embed=(1, places, DIM))}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"pos_embed is \[1, {places}, 128\]"):
        load_backbone("umt", tmp_path / "x.pth")


def test_a_file_of_videomae_is_not_taken_for_this(tmp_path: Path) -> None:
    torch.save({"model": encoder(2, separate_biases=True, norm="fc_norm")}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"patch_embed.proj.weight is \[128, 3, 2, 8, 8\]"):
        load_backbone("umt", tmp_path / "x.pth")
