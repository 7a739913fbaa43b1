"""A video encoder that starts from nothing."""

from pathlib import Path

import pytest
import torch

from pretrain.model.init import redraw
from tests.support.tiny_run import tiny
from tvts_bench.errors import UserError
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

CONFIG = VideoTransformerConfig(embed_dim=64, depth=1, num_heads=2, image_size=32, patch_size=8, num_frames=16)


def drawn(seed: int) -> VideoTransformer:
    model = VideoTransformer.seeded(CONFIG, 0)
    redraw(model, seed)
    return model


def test_the_seed_alone_decides() -> None:
    before = torch.random.get_rng_state()
    same, again, other = (drawn(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not torch.equal(same["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_have_xaviers_range_over_all_inputs_of_a_patch() -> None:
    weights = drawn(0).state_dict()
    for name, inputs, outputs in (("patch_embed.proj", 3 * 2 * 8 * 8, 64), ("blocks.0.mlp.fc1", 64, 256)):
        bound = (6 / (inputs + outputs)) ** 0.5
        assert weights[f"{name}.weight"].abs().max() == pytest.approx(bound, rel=0.01)
        assert not weights[f"{name}.bias"].any()


def test_every_place_and_every_time_can_be_told_and_near_ones_are_alike() -> None:
    weights = drawn(0).state_dict()
    assert not weights["pos_embed"][0, 0].any()
    for table in (weights["pos_embed"][0, 1:], weights["temporal_embed"][0]):
        apart = torch.cdist(table, table)
        assert apart[~torch.eye(len(table), dtype=torch.bool)].min() > 1
        assert apart[0, 1] == apart[0, 1:].min()


def test_dimensions_that_no_table_fits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"video\.embed_dim that 4 divides, got 30"):
        tiny(tmp_path, "init.video=mae", "video.embed_dim=30", "video.num_heads=2")
