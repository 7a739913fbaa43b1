"""One draw per clip, from its own generator; operations as strong as their names say."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench.errors import UserError
from tvts_bench.video.spec import PLAIN, ClipAugment, ClipSpec
from tvts_bench.video.transforms import augment_clip, resize_and_crop

from torchvision.transforms.v2 import functional as F  # isort: skip

CLIP = ClipSpec(num_frames=4, short_side=16, crop=16)
FULL = ClipAugment(flip=0.5)


def picture(height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def still(frames: int = 4) -> NDArray[np.uint8]:
    """A clip whose frames are all the same."""
    return np.repeat(picture()[None], frames, axis=0)


def augmented(frames: NDArray[np.uint8], augment: ClipAugment, seed: int = 0) -> Tensor:
    return augment_clip(frames, augment, CLIP, np.random.default_rng(seed))


@pytest.mark.parametrize("crop", ["area", "jitter", "center"])
def test_all_frames_of_a_clip_are_varied_in_the_same_way(crop: str) -> None:
    augment = replace(FULL, crop=crop, erase=0.0)  # type: ignore[arg-type]
    clips = [augmented(still(), augment, seed) for seed in range(30)]
    for clip in clips:
        assert (clip == clip[:, :1]).all()
    assert len({clip.numpy().tobytes() for clip in clips}) > 20


def test_a_clip_is_known_from_its_generator_and_nothing_else_notices() -> None:
    first = augmented(still(), FULL, seed=5)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert (augmented(still(), FULL, seed=5) == first).all()
    assert (torch.get_rng_state() == before).all()
    assert np.random.get_state()[1].tolist() == numbers  # type: ignore[index]  # noqa: NPY002
    assert not torch.equal(augmented(still(), FULL, seed=6), first)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 50), st.integers(1, 50)),
    augment=st.builds(
        ClipAugment,
        crop=st.sampled_from(["area", "jitter", "center"]),
        flip=st.sampled_from([0.0, 0.5, 1.0]),
        operations=st.integers(0, 5),
        magnitude=st.floats(0, 10),
        magnitude_std=st.floats(0, 3),
        operation_prob=st.floats(0, 1),
        erase=st.sampled_from([0.0, 1.0]),
    ),
    seed=st.integers(0, 2**32),
)
def test_any_frames_give_a_clip_of_the_size_requested(
    shape: tuple[int, int, int], augment: ClipAugment, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    untouched = frames.copy()
    clip = augmented(frames, augment, seed)
    assert clip.shape == (3, shape[0], 16, 16)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    assert (frames == untouched).all()


def test_without_augmentation_a_clip_is_the_one_that_features_are_extracted_from() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    assert torch.equal(augmented(frames, PLAIN), resize_and_crop(frames, CLIP)[0])


def test_each_variation_draws_for_itself() -> None:
    cropped = augmented(still(), replace(FULL, flip=0.0, operations=0, erase=0.0), seed=3)
    mirrored = augmented(still(), replace(FULL, flip=1.0, operations=0, erase=0.0), seed=3)
    assert torch.equal(mirrored, cropped.flip(-1))


def test_a_share_of_clips_is_mirrored() -> None:
    plain = augmented(still(), PLAIN)
    flips = [torch.equal(augmented(still(), replace(PLAIN, flip=0.3), seed), plain.flip(-1)) for seed in range(400)]
    assert 80 <= sum(flips) <= 160  # 120 expected, standard deviation 9


def test_parts_have_the_areas_and_shapes_requested() -> None:
    height, width = 60, 80
    columns = np.broadcast_to(np.arange(width, dtype=np.float64) * 3, (1, height, width))
    rows = np.broadcast_to(np.arange(height, dtype=np.float64)[:, None] * 3, (1, height, width))
    frames = np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8)
    augment = replace(PLAIN, crop="area", area=(0.2, 0.5), aspect=(0.8, 1.25))
    for seed in range(40):
        clip = augmented(frames, augment, seed).double()  # red grows by 3 a column, green by 3 a row
        wide = (clip[0, 0, 8, -3] - clip[0, 0, 8, 2]).item() / 3 * 16 / 11
        high = (clip[1, 0, -3, 8] - clip[1, 0, 2, 8]).item() / 3 * 16 / 11
        assert 0.2 * 0.85 < wide * high / (height * width) < 0.5 * 1.15
        assert 0.8 * 0.85 < wide / high < 1.25 * 1.15


def test_jitter_of_squashed_frames_keeps_them_whole() -> None:
    wide = np.repeat(np.arange(16, dtype=np.uint8)[None, None, :, None], 3, axis=3).repeat(8, axis=1)  # [1, 8, 16, 3]
    clip = ClipSpec(num_frames=1, short_side=8, crop=8, resize="squash")
    varied = augment_clip(wide, replace(PLAIN, crop="jitter", jitter=(1, 1)), clip, np.random.default_rng(0))
    assert varied[0, 0, 0].tolist() == resize_and_crop(wide, clip)[0, 0, 0, 0].tolist()


def test_jitter_of_one_only_shifts() -> None:
    frames = np.repeat(np.arange(32, dtype=np.uint8)[None, None, :, None], 16, axis=1).repeat(3, axis=3)  # [1,16,32,3]
    firsts = {
        int(augmented(frames, replace(PLAIN, crop="jitter", jitter=(1, 1)), seed)[0, 0, 0, 0]) for seed in range(99)
    }
    assert firsts <= set(range(17))
    assert len(firsts) > 12


def expected_operations(planes: Tensor) -> dict[str, Tensor]:
    """Each of RandAugment's operations at 7 of 10, from the ranges of its paper, by torchvision's single functions."""
    size, fill = planes.shape[-1], [124, 116, 104]
    none: dict[str, Any] = {"translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "angle": 0.0}
    look: dict[str, Any] = {"interpolation": F.InterpolationMode.BILINEAR, "fill": fill}
    results = {"identity": planes, "autocontrast": F.autocontrast(planes), "equalize": F.equalize(planes)}
    results["posterize"] = F.posterize(planes, bits=8 - round(0.7 * 4))
    for sign in (-1, 1):
        shear = math.degrees(math.atan(sign * 0.7 * 0.3))
        shift = int(sign * 0.7 * 150 / 331 * size)
        results[f"shear x {sign}"] = F.affine(planes, **{**none, **look, "shear": [shear, 0.0], "center": [0, 0]})
        results[f"shear y {sign}"] = F.affine(planes, **{**none, **look, "shear": [0.0, shear], "center": [0, 0]})
        results[f"translate x {sign}"] = F.affine(planes, **{**none, **look, "translate": [shift, 0]})
        results[f"translate y {sign}"] = F.affine(planes, **{**none, **look, "translate": [0, shift]})
        results[f"rotate {sign}"] = F.rotate(planes, sign * 0.7 * 30.0, **look)
        adjust: dict[str, Callable[[Tensor, float], Tensor]] = {
            "brightness": F.adjust_brightness,
            "color": F.adjust_saturation,
            "contrast": F.adjust_contrast,
            "sharpness": F.adjust_sharpness,
        }
        for name, function in adjust.items():
            results[f"{name} {sign}"] = function(planes, 1 + sign * 0.7 * 0.9)
    results["solarize"] = F.solarize(planes, 255 * (1 - 0.7))
    return results


def test_operations_have_the_strength_requested() -> None:
    frames = np.random.default_rng(0).integers(20, 236, (2, 16, 16, 3), dtype=np.uint8)
    expected = expected_operations(torch.from_numpy(frames).permute(0, 3, 1, 2))
    one = replace(PLAIN, operations=1, operation_prob=1.0, magnitude=7.0, magnitude_std=0.0)
    seen = set()
    for seed in range(400):
        planes = augmented(frames, one, seed).transpose(0, 1)
        matching = [name for name, other in expected.items() if (planes.int() - other.int()).abs().max() <= 1]
        assert matching, f"seed {seed}: none of the operations"
        seen |= set(matching)
    assert seen == set(expected)


def test_erasing_fills_one_rectangle_of_all_frames_with_noise_of_the_pixels_kind() -> None:
    frames = np.zeros((8, 64, 64, 3), dtype=np.uint8)
    clip = replace(CLIP, short_side=64, crop=64)
    drawn, shares = [], []
    for seed in range(60):
        erased = augment_clip(frames, replace(PLAIN, erase=1.0), clip, np.random.default_rng(seed))
        mask = (erased > 0).any(dim=0)  # [T, H, W]; a pixel of noise is 0 in all channels once in a hundred
        rows, columns = mask.any(dim=(0, 2)).nonzero(), mask.any(dim=(0, 1)).nonzero()
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        inside = mask[:, top:bottom, left:right]
        assert inside.float().mean(dim=(1, 2)).min() > 0.8  # the same rectangle in each frame
        assert not torch.equal(erased[:, 0], erased[:, 1])  # filled anew in each
        shares.append(inside[0].numel() / 64**2)
        drawn.append(erased[:, :, top:bottom, left:right].reshape(3, -1))
    assert 0.015 < min(shares) < max(shares) < 0.36
    noise = torch.cat(drawn, dim=1).double() / 255
    # Normal with the deviation and mean of the pixels, then clipped to 0..1, which moves both a little.
    assert noise.mean(dim=1).tolist() == pytest.approx(CLIP.mean, abs=0.02)
    assert noise.std(dim=1).tolist() == pytest.approx(CLIP.std, abs=0.02)


def test_erasing_happens_to_its_share_of_clips() -> None:
    plain = augmented(still(), PLAIN)
    erased = [not torch.equal(augmented(still(), replace(PLAIN, erase=0.25), seed), plain) for seed in range(400)]
    assert 65 <= sum(erased) <= 135  # 100 expected, standard deviation 9


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"flip": 1.5}, "1.5"),
        ({"crop": "centre"}, "'centre'"),
        ({"area": (0.0, 1.0)}, "area"),
        ({"aspect": (2.0, 1.0)}, "aspect"),
        ({"jitter": (0.5, 1.0)}, "jitter"),
        ({"operations": -1}, "-1"),
        ({"magnitude": 11.0}, "11"),
        ({"magnitude_std": -1.0}, "-1"),
        ({"erase": float("nan")}, "nan"),
        ({"frames": "all"}, "'all'"),
    ],
)
def test_nonsense_is_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ClipAugment(**bad)  # type: ignore[arg-type]
