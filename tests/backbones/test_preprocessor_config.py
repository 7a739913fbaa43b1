"""What folders of the transformers library say of their input, as clip specifications."""

import json
from pathlib import Path
from typing import Any

import pytest

from tvts_bench.backbones._conversion.folder import described_clip_spec
from tvts_bench.backbones.base import BackboneError
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD, ClipSpec

HALF = (0.5, 0.5, 0.5)


def described(folder: Path, content: object, name: str = "preprocessor_config.json") -> ClipSpec:
    (folder / name).write_text(json.dumps(content))
    return described_clip_spec(folder, image_size=224, num_frames=8)


@pytest.mark.parametrize(
    ("content", "short_side", "crop", "resize"),
    [
        # google/vit-base-patch16-224: squashed
        ({"size": {"height": 224, "width": 224}}, 224, 224, "squash"),
        ({"size": 224}, 224, 224, "squash"),
        # openai/clip-vit-base-patch16: short side, then the centre
        ({"size": 224, "do_center_crop": True, "crop_size": 224}, 224, 224, "short_side"),
        # facebook/dinov2-base
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            256,
            224,
            "short_side",
        ),
        # facebook/convnext-tiny-224: resized to 224 / 0.875 and cropped to 224
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 256, 224, "short_side"),
        ({}, 224, 224, "squash"),
    ],
)
def test_sizes(tmp_path: Path, content: dict[str, Any], short_side: int, crop: int, resize: str) -> None:
    spec = described(tmp_path, content)
    assert (spec.short_side, spec.crop, spec.resize, spec.num_frames) == (short_side, crop, resize, 8)


@pytest.mark.parametrize(
    ("content", "mean", "std"),
    [
        ({}, IMAGENET_MEAN, IMAGENET_STD),
        ({"image_mean": HALF, "image_std": HALF}, HALF, HALF),
        ({"do_normalize": False}, (0, 0, 0), (1, 1, 1)),
        # pixels / 127.5 - 1, then minus 0.5 and over 0.5: (2 x - 1.5) / 0.5 of x in 0..1
        (
            {"rescale_factor": 1 / 127.5, "offset": True, "image_mean": HALF, "image_std": HALF},
            (0.75, 0.75, 0.75),
            (0.25, 0.25, 0.25),
        ),
        ({"do_rescale": False, "image_mean": (51.0,) * 3, "image_std": (255.0,) * 3}, (0.2, 0.2, 0.2), (1, 1, 1)),
    ],
)
def test_normalisation(tmp_path: Path, content: dict[str, Any], mean: object, std: object) -> None:
    spec = described(tmp_path, content)
    assert spec.mean == pytest.approx(mean)
    assert spec.std == pytest.approx(std)


def test_a_part_of_a_larger_description_and_that_of_videos_first(tmp_path: Path) -> None:
    assert described(tmp_path, {"image_processor": {"image_mean": HALF}}, "processor_config.json").mean == HALF
    assert described(tmp_path, {"do_normalize": False}).mean == (0, 0, 0)
    assert described(tmp_path, {"image_mean": (0.1,) * 3}, "video_preprocessor_config.json").mean == (0.1, 0.1, 0.1)


def test_without_a_description_imagenets_is_assumed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert described_clip_spec(tmp_path, image_size=64, num_frames=4) == ClipSpec(num_frames=4, short_side=64, crop=64)
    assert "has no preprocessor_config.json: ImageNet's mean and deviation are assumed" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"size": {"height": 224, "width": 160}}, "only square frames are cut here"),
        ([], "holds a list, expected an object"),
        ({"image_mean": [0.5]}, "makes no sense"),
        ({"image_mean": "half"}, "makes no sense"),
        ({"size": "large"}, "makes no sense"),
        ({"size": {"shortest_edge": 32}, "crop_pct": "x"}, "makes no sense"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        described(tmp_path, content)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(BackboneError, match=r"cannot be read .* fetch the folder anew"):
        described_clip_spec(tmp_path, image_size=224, num_frames=8)
