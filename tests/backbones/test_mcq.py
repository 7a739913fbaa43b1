"""MCQ from files as its authors save them, and MCQ from CLIP's names."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.official_divided import (
    CHANGES,
    DEPTH,
    WIDTH,
    altered,
    attention,
    clips,
    frozen,
    layer,
    made,
    norm,
    prefixed,
    training_checkpoint,
    tvts2,
)
from tests.support.plain_divided import CLIP, MCQ, Plain, tokens
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

OTHERS = layer("text_proj.1", 16) | layer("vid_proj.0", 16) | layer("bridge_proj.0", 16)
PLAIN = Plain(names=MCQ, has_time=False)


def bridge() -> dict[str, tuple[int, ...]]:
    """What BridgeFormer adds to the video encoder."""
    shapes = norm("norm2")
    for i in range(DEPTH):
        block = f"blocks.{i}"
        shapes |= layer(f"{block}.crossattn.q_question", WIDTH) | layer(f"{block}.crossattn.kv_video", 2 * WIDTH)
        shapes |= layer(f"{block}.crossattn.proj", WIDTH) | attention(f"{block}.bridgeattn")
        shapes |= layer(f"{block}.bridge_mlp.fc1", WIDTH) | layer(f"{block}.bridge_mlp.fc2", WIDTH)
        for number in (4, 5, 6, 7):
            shapes |= norm(f"{block}.norm{number}")
    return shapes


def video_former() -> dict[str, Tensor]:
    return made(frozen(time=False, final="norm1"))


def written(path: Path, encoder: dict[str, Tensor]) -> Path:
    state = prefixed("video_model.", encoder | made(bridge(), seed=1)) | made(OTHERS)
    return training_checkpoint(path, prefixed("module.", state))


@pytest.mark.parametrize("frames", [4, 7])
@torch.inference_mode()
def test_official_files_give_the_class_token_of_the_equations(tmp_path: Path, frames: int) -> None:
    encoder, batch = video_former(), clips(frames)
    backbone = load_backbone(checkpoint=written(tmp_path / "MCQ.pth", encoder))
    wanted = torch.stack([tokens(encoder, PLAIN, clip) for clip in batch])
    torch.testing.assert_close(backbone(batch), wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(batch), wanted[:, 1:], rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("mcq", "tiny", 128)
    assert backbone.clip_spec.num_frames == 4
    assert backbone.adaptations(ClipSpec(num_frames=frames, short_side=32, crop=32)) == ()
    report = backbone.weights.report
    assert report is not None
    assert (report.used, len(report.unexpected)) == (len(encoder), len(bridge()) + len(OTHERS))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["blocks.1.attn.qkv.weight", "blocks.0.mlp.fc1.weight"])
def test_one_tensor_that_does_not_fit_is_refused(tmp_path: Path, name: str, change: str) -> None:
    path = written(tmp_path / "x.pth", altered(video_former(), name, change))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_backbone("mcq", path)


def test_the_final_norm_must_be_there(tmp_path: Path) -> None:
    encoder = {name: tensor for name, tensor in video_former().items() if not name.startswith("norm1.")}
    with pytest.raises(CheckpointError, match=r"has no video_model\.norm1\.weight"):
        load_backbone("mcq", written(tmp_path / "x.pth", encoder))


@torch.inference_mode()
def test_files_with_clips_names_load_when_asked_for(tmp_path: Path) -> None:
    shapes = {n: s for n, s in tvts2().items() if "timeattn" not in n and "ln_3" not in n and "temporal" not in n}
    encoder = made(shapes)
    names = {n: n.replace("attn.qkv.", "attn.in_proj_").replace("attn.proj.", "attn.out_proj.") for n in encoder}
    renamed = {names[n]: tensor for n, tensor in encoder.items()}
    text = made({"token_embedding.weight": (9, 8), "positional_embedding": (7, 8), "text_projection": (8, 8)})
    path = training_checkpoint(tmp_path / "MCQ_CLIP.pth", prefixed("visual.", renamed) | text)
    backbone = load_backbone("mcq:clip_tiny", path)
    plain = Plain(names=CLIP, has_time=False, quick_gelu=True)
    wanted = torch.stack([tokens(encoder, plain, clip)[0] for clip in clips(4)])
    torch.testing.assert_close(backbone(clips(4)), wanted, rtol=1e-4, atol=1e-4)
    assert (backbone.embed_dim, backbone.clip_spec.mean[0]) == (64, 0.48145466)
