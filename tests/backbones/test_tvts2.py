"""TVTSv2 from files as its authors save them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.official_divided import (
    CHANGES,
    altered,
    clips,
    made,
    prefixed,
    training_checkpoint,
    tvts2,
)
from tests.support.plain_divided import CLIP, Plain, tokens
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tvts2 import SIZES
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.divided_vit import DividedTransformer
from tvts_bench.video.spec import ClipSpec

OTHERS = {
    "text_model.resblocks.0.attn.in_proj_weight": (24, 8),
    "text_token_embedding.weight": (9, 8),
    "text_positional_embedding": (7, 8),
    "text_ln_final.weight": (8,),
    "text_projection": (8, 8),
    "pred_model.type_embed": (1, 2, 8),
}


def written(path: Path, encoder: dict[str, Tensor]) -> Path:
    state = prefixed("video_model.", encoder) | made(OTHERS)
    return training_checkpoint(path, prefixed("module.", state))


@pytest.mark.parametrize("frames", [12, 5])
@torch.inference_mode()
def test_official_files_give_the_projected_class_token_of_the_equations(tmp_path: Path, frames: int) -> None:
    encoder, batch = made(tvts2()), clips(frames)
    backbone = load_backbone(checkpoint=written(tmp_path / "TVTSv2_B_16.pth", encoder))
    plain = Plain(names=CLIP, quick_gelu=True)
    wanted = torch.stack([tokens(encoder, plain, clip) for clip in batch])
    torch.testing.assert_close(backbone(batch), wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(batch), wanted[:, 1:], rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("tvts2", "tiny", 64)
    assert backbone.clip_spec == ClipSpec(num_frames=12, sampling="endpoints", resize="squash", short_side=32, crop=32)
    report = backbone.weights.report
    assert report is not None
    assert (report.used, set(report.unexpected)) == (len(encoder), set(OTHERS))


@torch.inference_mode()
def test_patches_of_14_pixels_mean_the_exact_gelu(tmp_path: Path) -> None:
    encoder, batch = made(tvts2(patch=14, grid=2)), clips(3, size=28)
    backbone = load_backbone(checkpoint=written(tmp_path / "TVTSv2_H_14.pth", encoder))
    wanted = torch.stack([tokens(encoder, Plain(names=CLIP), clip)[0] for clip in batch])
    torch.testing.assert_close(backbone(batch), wanted, rtol=1e-4, atol=1e-4)
    assert backbone.variant == "128x2"


def test_the_huge_network_has_the_official_shapes() -> None:
    with torch.device("meta"):
        state = DividedTransformer(SIZES["huge"]).state_dict()
    assert state["proj"].shape == (1280, 1024)
    assert state["pos_embed"].shape == (1, 257, 1280)
    assert SIZES["huge"].width // SIZES["huge"].num_heads == 80  # OpenCLIP's width of a head


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("transformer.resblocks.1.timeattn.qkv.weight", "blocks.1.timeattn.qkv.weight"),
        ("transformer.resblocks.0.mlp.c_fc.weight", "blocks.0.mlp.fc1.weight"),
        ("proj", "proj"),
        ("temporal_embedding", "temporal_embed"),
    ],
)
def test_one_tensor_that_does_not_fit_is_refused(tmp_path: Path, name: str, ours: str, change: str) -> None:
    path = written(tmp_path / "x.pth", altered(made(tvts2()), name, change))
    with pytest.raises(CheckpointError, match=ours.replace(".", r"\.")):
        load_backbone("tvts2", path)


def test_it_is_told_from_tvts_and_frozen_by_its_names(tmp_path: Path) -> None:
    torch.save(made(tvts2()), tmp_path / "x.pth")
    assert load_backbone(checkpoint=tmp_path / "x.pth").family == "tvts2"
