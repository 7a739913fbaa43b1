"""One crop for a whole clip, at random or in the centre."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pretrain.data.clip_sampling import CropConfig, crop_clip
from tvts_bench.errors import UserError


def ramp(height: int, width: int, frames: int = 3) -> NDArray[np.uint8]:
    """Red tells the row, green the column, blue the frame."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 0] = np.arange(height)[:, None]
    clip[..., 1] = np.arange(width)
    clip[..., 2] = np.arange(frames)[:, None, None]
    return clip


def test_the_centre_is_cut_without_a_generator() -> None:
    clip = crop_clip(ramp(20, 30), CropConfig(size=10, short_side=20), None)
    assert clip.shape == (3, 3, 10, 10)
    assert clip.dtype == torch.uint8
    assert clip[0, 0, :, 0].tolist() == list(range(5, 15))
    assert clip[1, 0, 0].tolist() == list(range(10, 20))
    assert clip[2, :, 0, 0].tolist() == [0, 1, 2]


def test_a_random_crop_is_the_same_in_every_frame_and_reaches_all_places() -> None:
    corners = set()
    for seed in range(300):
        clip = crop_clip(ramp(12, 13), CropConfig(size=10, short_side=12), np.random.default_rng(seed))
        assert (clip[:2] == clip[:2, :1]).all()
        assert (clip[1, 0, 0].diff() == 1).all()  # never mirrored
        corners.add((int(clip[0, 0, 0, 0]), int(clip[1, 0, 0, 0])))
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_the_shorter_side_is_resized_first() -> None:
    frames = np.full((2, 40, 60, 3), 77, np.uint8)
    frames[:, :, :30] = 200
    clip = crop_clip(frames, CropConfig(size=20, short_side=20), None)  # 20 x 30, centre: columns 5 to 25
    assert clip.shape == (3, 2, 20, 20)
    assert (clip[..., :9] == 200).all()
    assert (clip[..., 11:] == 77).all()


def test_a_random_part_has_the_area_asked_for() -> None:
    config = CropConfig(size=50, short_side=50, style="area", area=(0.25, 0.25))
    for seed in range(20):
        clip = crop_clip(ramp(100, 100), config, np.random.default_rng(seed)).float()
        rows, columns = (float(clip[c, 0].max() - clip[c, 0].min()) for c in (0, 1))
        assert rows * columns == pytest.approx(2500, rel=0.12)
    assert crop_clip(ramp(100, 100), config, None)[0, 0, 0, 0] < 5  # the whole frame in evaluation


def test_mirroring_is_asked_for() -> None:
    mirrored = [
        bool(
            crop_clip(ramp(10, 10), CropConfig(size=10, short_side=10, flip=0.5), np.random.default_rng(i))[1, 0, 0, 0]
        )
        for i in range(100)
    ]
    assert 30 < sum(mirrored) < 70


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "got 0"),
        ({"size": 300}, "short_side 268, got 300"),
        ({"style": "stretch"}, "got 'stretch'"),
        ({"area": (0.0, 1.0)}, "two increasing shares"),
        ({"flip": 2.0}, r"flip must be in \[0, 1\], got 2.0"),
    ],
)
def test_nonsense_is_refused_with_its_value(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CropConfig(**fields)  # type: ignore[arg-type]
