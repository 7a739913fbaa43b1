"""The two networks that the package carries."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.tvts import SHIPPED, shipped
from tvts_bench.datasets.scripted_motion.clips import ScriptedClip, take
from tvts_bench.datasets.scripted_motion.layouts import SSV2
from tvts_bench.datasets.scripted_motion.world import World
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise

CLASSES, EACH = SSV2[:8], 12  # the single actions


def recall_at_1(name: str) -> float:
    """Percent, leave-one-out, on clips of held-out handwritings drawn here: chance is 11.6."""
    backbone = load_backbone(name)
    clips = []
    for each in CLASSES:
        for number in range(EACH):
            clip = ScriptedClip(path=f"shipped/{each.name}-{number}.mp4", kind=each, held_out=True)
            frames = take(World(), clip).frames()
            shown = frames[(np.arange(16) * 2 + 1) * len(frames) // 32]
            top, left = (shown.shape[1] - 32) // 2, (shown.shape[2] - 32) // 2
            clips.append(torch.from_numpy(shown[:, top : top + 32, left : left + 32].copy()).permute(3, 0, 1, 2))
    with torch.inference_mode():
        found = F.normalize(backbone(normalise(torch.stack(clips), IMAGENET_MEAN, IMAGENET_STD)))
    alike = (found @ found.T).fill_diagonal_(-2).argmax(1)
    truth = torch.arange(len(CLASSES)).repeat_interleave(EACH)
    return float((truth[alike] == truth).float().mean() * 100)


@pytest.mark.parametrize("variant", SHIPPED)
def test_it_is_small_and_its_card_is_about_this_very_file(variant: str) -> None:
    path = shipped(variant)
    assert path.stat().st_size < 12e6
    card = path.with_name("README.md").read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card


@pytest.mark.parametrize("variant", SHIPPED)
def test_it_knows_actions_that_no_single_frame_shows(variant: str) -> None:
    assert recall_at_1(f"tvts:{variant}") > 50
    assert recall_at_1("tvts:tiny") < 30  # never trained


def test_a_file_of_ones_own_is_not_taken_for_it() -> None:
    with pytest.raises(CheckpointError, match="is a shipped file"):
        load_backbone(f"tvts:{SHIPPED[0]}", shipped(SHIPPED[1]))


def test_an_unknown_variant_gets_the_nearest_names() -> None:
    with pytest.raises(BackboneError, match="did you mean scripted_motion_tiny"):
        load_backbone("tvts:scripted_motion_tny")
