"""InternVideo2 from files as its authors save them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.official_divided import CHANGES, altered, clips, layer, made, norm, prefixed
from tests.support.plain_internvideo2 import restated
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.video_network import VideoNetworkError
from tvts_bench.video.spec import ClipSpec

WIDTH, DEPTH, MLP = 128, 2, 512
TRAINING = layer("clip_decoder.0.head", 8) | norm("final_clip_decoder.norm", 8) | layer("mae_decoder.0.head.0", 8)
TRAINING |= {"clip_pos_embed": (1, 129, WIDTH), "mae_pos_embed": (1, 128, WIDTH)}
STAGE2 = {"text_encoder.bert.x": (4, 4), "vision_proj.weight": (4, 4), "text_proj.weight": (4, 4), "temp": ()}


def official(frames: int = 8, output: int = 128) -> dict[str, Tensor]:
    """The encoder and its attention pool."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + frames * 16, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 1, 8, 8),
        "patch_embed.proj.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        block = f"blocks.{i}"
        vectors = ("norm1.weight", "norm2.weight", "attn.q_norm.weight", "attn.k_norm.weight", "ls1.gamma", "ls2.gamma")
        shapes |= {f"{block}.{name}": (WIDTH,) for name in vectors}
        shapes |= {f"{block}.attn.qkv.weight": (3 * WIDTH, WIDTH)} | layer(f"{block}.attn.proj", WIDTH, WIDTH)
        shapes |= layer(f"{block}.mlp.fc1", MLP, WIDTH) | layer(f"{block}.mlp.fc2", WIDTH, MLP)
    pool = "clip_projector"
    for part in "qkv":
        shapes |= norm(f"{pool}.norm1_{part}", WIDTH)
        shapes |= {f"{pool}.cross_attn.{part}.weight": (WIDTH, WIDTH), f"{pool}.cross_attn.{part}_bias": (WIDTH,)}
    return made(shapes | layer(f"{pool}.cross_attn.proj", output, WIDTH))


def stage1(path: Path, encoder: dict[str, Tensor]) -> Path:
    torch.save({"module": prefixed("module.", encoder | made(TRAINING))}, path)
    return path


def stage2(path: Path, encoder: dict[str, Tensor]) -> Path:
    torch.save({"model": prefixed("vision_encoder.", encoder | made(TRAINING)) | made(STAGE2)}, path)
    return path


def fine_tuned(path: Path, encoder: dict[str, Tensor]) -> Path:
    torch.save(encoder | made(norm("fc_norm", 128) | layer("head", 10)), path)
    return path


OTHERS = {stage1: len(TRAINING), stage2: len(TRAINING) + len(STAGE2), fine_tuned: 4}


@pytest.mark.parametrize("write", OTHERS, ids=lambda write: write.__name__)
@torch.inference_mode()
def test_official_files_give_the_pooled_embedding_of_the_equations(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    encoder, batch = official(), clips(8)
    backbone = load_backbone(checkpoint=write(tmp_path / "pretrain.pth", encoder))
    wanted = [restated(encoder, clip, encoder["pos_embed"][0], heads=2) for clip in batch]
    torch.testing.assert_close(backbone(batch), torch.stack([pooled for _, pooled in wanted]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(batch), torch.stack([x[1:] for x, _ in wanted]), rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("internvideo2", "tiny", 128)
    assert backbone.clip_spec == ClipSpec(num_frames=8, short_side=32, crop=32)
    report = backbone.weights.report
    assert report is not None
    assert (report.used, len(report.unexpected)) == (len(encoder), OTHERS[write])


def test_the_number_of_frames_comes_from_the_table(tmp_path: Path) -> None:
    backbone = load_backbone(checkpoint=stage2(tmp_path / "x.pt", official(frames=4)))
    assert (backbone.variant, backbone.clip_spec.num_frames) == ("tiny", 4)
    assert backbone.adaptations(ClipSpec(num_frames=8, short_side=64, crop=64)) == (
        "position table 4 x 4 x 4 resampled to 8 x 8 x 8, linear in time, bicubic in space",
    )


def test_tokens_of_another_width_than_the_embedding_are_refused(tmp_path: Path) -> None:
    backbone = load_backbone(checkpoint=stage1(tmp_path / "x.pth", official(output=64)))
    assert backbone.embed_dim == 64
    with pytest.raises(VideoNetworkError, match=r"patch tokens of width 128 beside an embedding of 64"):
        backbone.tokens(clips(8))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["blocks.1.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "pos_embed"])
def test_one_tensor_that_does_not_fit_is_refused(tmp_path: Path, name: str, change: str) -> None:
    path = stage1(tmp_path / "x.pth", altered(official(), name, change))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_backbone("internvideo2", path)


def test_a_table_of_no_whole_frames_is_refused(tmp_path: Path) -> None:
    encoder = official() | {"pos_embed": torch.zeros(1, 100, WIDTH)}
    with pytest.raises(CheckpointError, match="99 places for patches, not a multiple of 4 x 4"):
        load_backbone("internvideo2", stage1(tmp_path / "x.pth", encoder))


def test_a_part_that_is_not_known_is_refused(tmp_path: Path) -> None:
    torch.save({"model": prefixed("vision_encoder.", official()) | made({"temporal_head": (4, 4)})}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="temporal_head"):
        load_backbone("internvideo2", tmp_path / "x.pt")
