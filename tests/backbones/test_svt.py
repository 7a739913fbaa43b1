"""SVT and TimeSformer: one network, told apart by what stands around it in the file."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.official_divided import CHANGES, altered, clips, layer, made, prefixed, timesformer
from tests.support.plain_divided import timesformer_tokens
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

DINO_HEAD = layer("head.mlp.0", 16) | {"head.last_layer.weight_g": (9, 1), "head.last_layer.weight_v": (9, 8)}


def svt(path: Path, network: dict[str, Tensor]) -> Path:
    """The container of SVT's training code."""
    teacher = prefixed("backbone.", network) | made(DINO_HEAD)
    student = {name: tensor + 1 for name, tensor in prefixed("module.", teacher).items()}
    content = {"student": student, "teacher": teacher, "motion_student": 0, "motion_teacher": 0, "epoch": 20}
    torch.save(content | {"args": argparse.Namespace(arch="timesformer", lr=5e-4), "optimizer": {}}, path)
    return path


def facebook(path: Path, network: dict[str, Tensor]) -> Path:
    """The container of TimeSformer's, a fine-tuned network with its classifier."""
    state = prefixed("model.", network | made(layer("head", 10)))
    torch.save({"epoch": 14, "model_state": state, "optimizer_state": {}, "cfg": "TRAIN:\n  ENABLE: true"}, path)
    return path


WRITERS = {"svt": svt, "timesformer": facebook}


@pytest.mark.parametrize("frames", [8, 4])
@pytest.mark.parametrize("family", WRITERS)
@torch.inference_mode()
def test_official_files_give_the_class_token_of_the_equations(tmp_path: Path, family: str, frames: int) -> None:
    network, batch = made(timesformer()), clips(frames)
    backbone = load_backbone(checkpoint=WRITERS[family](tmp_path / "x.pyth", network))
    wanted = torch.stack([timesformer_tokens(network, 2, clip) for clip in batch])
    torch.testing.assert_close(backbone(batch), wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(batch), wanted[:, 1:], rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == (family, "tiny", 128)
    assert backbone.clip_spec == ClipSpec(
        num_frames=8, short_side=32, crop=32, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
    )
    report = backbone.weights.report
    assert report is not None
    assert report.used == len(network)
    assert report.unused_parts() == ({"head": 4} if family == "svt" else {"model": 2})


def test_other_clips_say_what_is_resampled(tmp_path: Path) -> None:
    backbone = load_backbone(checkpoint=svt(tmp_path / "x.pth", made(timesformer())))
    assert backbone.adaptations(ClipSpec(num_frames=16, short_side=64, crop=64)) == (
        "position table 4 x 4 resampled to 8 x 8, nearest",
        "8 temporal positions resampled to 16, nearest",
    )


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_a_bare_teacher_is_svts(tmp_path: Path, prefix: str) -> None:
    torch.save(prefixed(prefix, made(timesformer())), tmp_path / "x.pth")
    assert load_backbone(checkpoint=tmp_path / "x.pth").family == "svt"


def test_a_classifier_makes_it_a_timesformer(tmp_path: Path) -> None:
    torch.save(made(timesformer()) | made(DINO_HEAD), tmp_path / "svt.pth")
    assert load_backbone(checkpoint=tmp_path / "svt.pth").family == "svt"
    torch.save(made(timesformer() | layer("head", 10)), tmp_path / "fine.pth")
    assert load_backbone(checkpoint=tmp_path / "fine.pth").family == "timesformer"


def test_without_any_trace_the_user_is_asked(tmp_path: Path) -> None:
    torch.save(made(timesformer()), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"--backbone") as caught:
        load_backbone(checkpoint=tmp_path / "x.pth")
    assert "svt" in str(caught.value)
    assert "timesformer" in str(caught.value)
    assert load_backbone("svt", tmp_path / "x.pth").family == "svt"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("blocks.1.temporal_attn.qkv.weight", "layer.1.temporal_attention.attention.qkv.weight"),
        ("blocks.0.mlp.fc2.weight", "layer.0.output.dense.weight"),
        ("time_embed", "time_embed"),
    ],
)
@pytest.mark.parametrize("family", WRITERS)
def test_one_tensor_that_does_not_fit_is_refused(
    tmp_path: Path, family: str, name: str, ours: str, change: str
) -> None:
    path = WRITERS[family](tmp_path / "x.pth", altered(made(timesformer()), name, change))
    with pytest.raises(CheckpointError, match=ours.replace(".", r"\.")):
        load_backbone(family, path)


def test_longer_tables_ask_for_longer_clips(tmp_path: Path) -> None:
    backbone = load_backbone("timesformer", facebook(tmp_path / "x.pyth", made(timesformer(frames=16))))
    assert (backbone.variant, backbone.clip_spec.num_frames) == ("tiny", 16)
