"""Resize, crop and normalisation against torchvision's own, PIL's, and arithmetic by hand."""

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.errors import UserError
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import normalise, resize_and_crop

from torchvision.transforms import v2  # isort: skip


def noise(num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (num_frames, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (255, 341), (64, 64), (97, 65), (1, 1), (5, 90)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_one_view_is_what_torchvision_makes(
    height: int, width: int, interpolation: Literal["bilinear", "bicubic"]
) -> None:
    frames = noise(2, height, width)
    spec = ClipSpec(short_side=48, crop=40, interpolation=interpolation)
    reference = v2.Compose(
        [v2.Resize(48, interpolation=v2.InterpolationMode(interpolation), antialias=True), v2.CenterCrop(40)]
    )
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
    expected = reference(planes.contiguous()).transpose(0, 1)
    (view,) = resize_and_crop(frames, spec)
    assert view.dtype == torch.uint8
    assert view.is_contiguous()
    assert (view.int() - expected.int()).abs().max() <= 1  # another memory layout, another rounding


def test_resizing_is_antialiased_as_pil_does_it() -> None:
    frames = noise(1, 240, 320)
    image = Image.fromarray(frames[0]).resize((64, 48), Image.Resampling.BILINEAR)
    expected = np.asarray(image, dtype=int)[:, 8:56].transpose(2, 0, 1)
    view = resize_and_crop(frames, ClipSpec(short_side=48, crop=48))[0, :, 0]
    assert abs(view.numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (5, 90), (20, 20)])
@pytest.mark.parametrize("crop", [24, 32])
def test_squashing_makes_both_sides_equal(height: int, width: int, crop: int) -> None:
    frames = noise(2, height, width)
    spec = ClipSpec(short_side=32, crop=crop, resize="squash", interpolation="bicubic")
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
    bicubic = v2.InterpolationMode.BICUBIC
    reference = v2.Compose([v2.Resize((32, 32), interpolation=bicubic, antialias=True), v2.CenterCrop(crop)])
    expected = reference(planes).transpose(0, 1)
    (view,) = resize_and_crop(frames, spec)
    assert (view.int() - expected.int()).abs().max() <= 1


def test_squashed_frames_have_no_longer_side_to_crop_along() -> None:
    with pytest.raises(UserError, match="squash leaves no longer side for 3 spatial views"):
        ClipSpec(resize="squash", spatial_views=3)
    with pytest.raises(UserError, match="resize must be one of short_side, squash, got 'pad'"):
        ClipSpec(resize="pad")  # type: ignore[arg-type]


def test_a_spec_says_in_words_what_it_does() -> None:
    assert str(ClipSpec()) == "16 frames, segments/center, 224 x 224, 1 view"
    spec = ClipSpec(num_frames=12, sampling="endpoints", resize="squash")
    assert str(spec) == "12 frames, endpoints, 224 x 224 squashed, 1 view"


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    frames = noise(3, 8, 8)
    view = resize_and_crop(frames, ClipSpec(short_side=8, crop=8))[0]
    assert (view.numpy() == frames.transpose(3, 0, 1, 2)).all()


@pytest.mark.parametrize("tall", [False, True])
def test_three_views_along_the_longer_side(tall: bool) -> None:
    ramp = np.repeat(np.arange(12, dtype=np.uint8)[None, None, :, None], 3, axis=3)  # [1, 1, 12, 3]: x is its own value
    frames = np.repeat(ramp, 6, axis=1)
    if tall:
        frames = frames.transpose(0, 2, 1, 3)
    views = resize_and_crop(np.ascontiguousarray(frames), ClipSpec(short_side=6, crop=4, spatial_views=3))
    assert views.shape == (3, 3, 1, 4, 4)
    firsts = [views[v, 0, 0, 0, 0].item() for v in range(3)]
    assert firsts == [0, 4, 8]
    along = views[1, 0, 0, :, 0] if tall else views[1, 0, 0, 0]
    assert along.tolist() == [4, 5, 6, 7]


def test_same_bytes_each_time() -> None:
    frames = noise(4, 200, 300)
    assert (resize_and_crop(frames, ClipSpec()) == resize_and_crop(frames, ClipSpec())).all()


def test_normalise_by_hand() -> None:
    clips = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    out = normalise(clips, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 0.1))
    assert out.shape == (1, 3, 1, 1, 1)
    assert out.flatten().tolist() == pytest.approx([-1.0, 3.0, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalise_agrees_with_torchvision(dtype: torch.dtype) -> None:
    spec = ClipSpec()
    clips = torch.from_numpy(noise(5, 4, 6)).permute(3, 0, 1, 2)  # [3, T, H, W], not contiguous
    out = normalise(clips, spec.mean, spec.std, dtype)
    expected = v2.functional.normalize(clips.transpose(0, 1).float() / 255, spec.mean, spec.std).transpose(0, 1)
    assert out.dtype == dtype
    assert torch.allclose(out.float(), expected, atol=1e-6 if dtype == torch.float32 else 2e-2)
    assert (normalise(clips[None].expand(2, -1, -1, -1, -1), spec.mean, spec.std, dtype)[1] == out).all()


def test_normalise_refuses_what_is_already_float() -> None:
    with pytest.raises(AssertionError, match="uint8"):
        normalise(torch.zeros(3, 1, 2, 2), (0, 0, 0), (1, 1, 1))
