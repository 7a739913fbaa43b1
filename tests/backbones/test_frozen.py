"""Frozen and MILES from files as their authors save them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.official_divided import (
    CHANGES,
    altered,
    clips,
    frozen,
    layer,
    made,
    prefixed,
    training_checkpoint,
)
from tests.support.plain_divided import Plain, tokens
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

TEXT = {"text_model.transformer.layer.0.attention.q_lin.weight": (8, 8)}
PARTS = {  # beside the encoder
    "frozen": TEXT | layer("txt_proj.1", 16) | layer("vid_proj.0", 16),
    "miles": TEXT | layer("text_proj.1", 16) | layer("vid_proj.0", 16),
}


def written(path: Path, family: str, encoder: dict[str, Tensor], prefix: str = "module.") -> Path:
    state = prefixed("video_model.", encoder) | made(PARTS[family])
    return training_checkpoint(path, prefixed(prefix, state))


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("family", PARTS)
@torch.inference_mode()
def test_official_files_give_the_class_token_of_the_equations(tmp_path: Path, family: str, prefix: str) -> None:
    encoder = made(frozen())
    backbone = load_backbone(checkpoint=written(tmp_path / "x.pth.tar", family, encoder, prefix))
    wanted = torch.stack([tokens(encoder, Plain(), clip) for clip in clips(4)])
    torch.testing.assert_close(backbone(clips(4)), wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(clips(4)), wanted[:, 1:], rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == (family, "tiny", 128)
    assert backbone.clip_spec == ClipSpec(num_frames=4, short_side=32, crop=32)
    report = backbone.weights.report
    assert report is not None
    assert report.used == len(encoder)
    assert set(report.unused_parts()) == {name.split(".")[0] for name in PARTS[family]}


@torch.inference_mode()
def test_more_frames_get_no_position_in_frozen_and_a_stretched_table_in_miles(tmp_path: Path) -> None:
    encoder, batch = made(frozen()), clips(6)
    wanted = torch.stack([tokens(encoder, Plain(), clip)[0] for clip in batch])
    longer = ClipSpec(num_frames=6, short_side=32, crop=32)
    backbone = load_backbone(checkpoint=written(tmp_path / "a.pth", "frozen", encoder))
    torch.testing.assert_close(backbone(batch), wanted, rtol=1e-4, atol=1e-4)
    assert backbone.adaptations(longer) == ("temporal positions after the 4 that there are: zero",)
    backbone = load_backbone(checkpoint=written(tmp_path / "b.pth", "miles", encoder))
    assert not torch.allclose(backbone(batch), wanted, atol=1e-3)
    assert backbone.adaptations(longer) == ("4 temporal positions resampled to 6, linear",)


def test_a_bare_encoder_could_be_either_and_is_asked_about(tmp_path: Path) -> None:
    torch.save(made(frozen()), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"--backbone") as caught:
        load_backbone(checkpoint=tmp_path / "x.pth")
    assert "frozen" in str(caught.value)
    assert "miles" in str(caught.value)
    assert load_backbone("miles", tmp_path / "x.pth").family == "miles"
    assert load_backbone("frozen", tmp_path / "x.pth").family == "frozen"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["blocks.1.timeattn.qkv.weight", "blocks.0.mlp.fc2.weight", "pos_embed"])
@pytest.mark.parametrize("family", PARTS)
def test_one_tensor_that_does_not_fit_is_refused(tmp_path: Path, family: str, name: str, change: str) -> None:
    path = written(tmp_path / "x.pth", family, altered(made(frozen()), name, change))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_backbone(family, path)


def test_a_classifier_is_set_aside_and_said(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pth", "frozen", made(frozen() | layer("head", 10)))
    report = load_backbone("frozen", path).weights.report
    assert report is not None
    assert {"video_model.head.weight", "video_model.head.bias"} <= set(report.unexpected)


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    state = prefixed("video_model.", made(frozen())) | made(PARTS["frozen"] | layer("audio_model.0", 4))
    with pytest.raises(CheckpointError, match=r"unknown 2 \(audio_model\.0\.weight"):
        load_backbone("frozen", training_checkpoint(tmp_path / "x.pth", state))


def test_files_of_more_frames_ask_for_more(tmp_path: Path) -> None:
    backbone = load_backbone(checkpoint=written(tmp_path / "x.pth", "frozen", made(frozen(frames=16))))
    assert backbone.clip_spec.num_frames == 16


def test_another_size_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pth", "frozen", made(frozen()))
    with pytest.raises(CheckpointError, match="holds frozen:tiny, not the frozen:base asked for"):
        load_backbone("frozen:base", path)


@pytest.mark.parametrize("family", PARTS)
def test_random_weights_come_from_the_seed_alone(family: str) -> None:
    first, again, other = (load_backbone(f"{family}:tiny", seed=seed) for seed in (1, 1, 2))
    assert first.weights.name == "random init (seed 1)"
    assert first.weights.sha256 == again.weights.sha256 != other.weights.sha256
    with torch.inference_mode():
        torch.testing.assert_close(first(clips(4)), again(clips(4)), rtol=0, atol=0)
    assert first.layer_of("network.blocks.1.norm3.weight") == 2


def test_crops_that_are_no_whole_patches_are_refused_before_anything_runs() -> None:
    backbone = load_backbone("frozen:tiny")
    with pytest.raises(BackboneError, match=r"frozen:tiny: .*patches of 8 x 8 pixels, got 30 x 30"):
        backbone.adaptations(ClipSpec(num_frames=4, short_side=30, crop=30))
