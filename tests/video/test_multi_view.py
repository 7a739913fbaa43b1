"""Multi-view testing, 2 x 3 and 5 x 3, written out: which frames and which columns every view shows, in order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tvts_bench.video import clips
from tvts_bench.video.reader import DecodedFrames
from tvts_bench.video.spec import ClipSpec

# A video of 160 frames of 340 x 256 pixels and a crop of 256: the free 84 columns give crops at 0, 42 and 84.
LEFTS = [0, 42, 84]
TWO = [
    [2, 12, 22, 32, 42, 52, 62, 72, 82, 92, 102, 112, 122, 132, 142, 152],  # a quarter into each of 16 segments
    [7, 17, 27, 37, 47, 57, 67, 77, 87, 97, 107, 117, 127, 137, 147, 157],  # three quarters
]
FIVE = [
    [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101, 111, 121, 131, 141, 151],
    [3, 13, 23, 33, 43, 53, 63, 73, 83, 93, 103, 113, 123, 133, 143, 153],
    [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 105, 115, 125, 135, 145, 155],
    [7, 17, 27, 37, 47, 57, 67, 77, 87, 97, 107, 117, 127, 137, 147, 157],
    [9, 19, 29, 39, 49, 59, 69, 79, 89, 99, 109, 119, 129, 139, 149, 159],
]
# Every fourth frame of a window of 61; the 99 frames that are left over put windows at 0, 24, 49, 74 and 99.
FIVE_DENSE = [
    [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60],
    [24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 84],
    [49, 53, 57, 61, 65, 69, 73, 77, 81, 85, 89, 93, 97, 101, 105, 109],
    [74, 78, 82, 86, 90, 94, 98, 102, 106, 110, 114, 118, 122, 126, 130, 134],
    [99, 103, 107, 111, 115, 119, 123, 127, 131, 135, 139, 143, 147, 151, 155, 159],
]


def numbered(path: Path, sample: Callable[[int], NDArray[np.int64]], decoder: str) -> DecodedFrames:
    """A decoder of frames whose red is their number, green their row and blue their column (both modulo 256)."""
    indices = sample(160)
    frames = np.empty((len(indices), 256, 340, 3), dtype=np.uint8)
    frames[..., 0] = indices[:, None, None]
    frames[..., 1] = np.arange(256)[:, None]
    frames[..., 2] = np.arange(340) % 256
    return DecodedFrames(frames=frames, num_frames=160, decoder=decoder)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ClipSpec(short_side=256, crop=256, temporal_views=2, spatial_views=3), TWO),
        (ClipSpec(short_side=256, crop=256, temporal_views=5, spatial_views=3), FIVE),
        (ClipSpec(short_side=256, crop=256, temporal_views=5, spatial_views=3, sampling="dense", stride=4), FIVE_DENSE),
    ],
    ids=["2x3", "5x3", "5x3 dense"],
)
def test_every_view_by_its_frames_and_columns(
    monkeypatch: pytest.MonkeyPatch, spec: ClipSpec, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(clips, "decode_frames", numbered)
    views = clips.load_clip(Path("any"), "any", spec).pixels  # [views, 3, 16, 256, 256]
    shown = [(view[0, :, 0, 0].tolist(), int(view[2, 0, 0, 0])) for view in views]
    assert shown == [(frames, left) for frames in expected for left in LEFTS]
    assert all((view[1, :, :, 0] == view[1, 0, :, 0]).all() and int(view[1, 0, 0, 0]) == 0 for view in views)
