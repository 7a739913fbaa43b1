"""A file to all its views, in order, the same bytes in any process."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.coded_video import X264_CLOSED, codes, write_video
from tvts_bench.errors import UserError
from tvts_bench.video.clips import load_clip
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import DECODERS
from tvts_bench.video.spec import ClipAugment, ClipSpec

SPEC = ClipSpec(num_frames=4, short_side=64, crop=64, spatial_views=1)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 coded frames, square: a centre crop keeps all blocks."""
    return write_video(tmp_path_factory.mktemp("clips") / "a.mp4", options=X264_CLOSED, size=(64, 64))


def view_codes(view: Tensor) -> list[int]:
    """What frames a view [3, T, H, W] shows."""
    return codes(view.permute(1, 2, 3, 0).numpy())


@pytest.mark.parametrize("decoder", DECODERS)
def test_one_view(video: Path, decoder: str) -> None:
    clip = load_clip(video, "a", SPEC, decoder)
    assert clip.pixels.shape == (1, 3, 4, 64, 64)
    assert clip.pixels.dtype == torch.uint8
    assert clip.num_frames == 40
    assert clip.decoder.startswith({"decord": "decord ", "pyav": "PyAV "}[decoder])
    assert view_codes(clip.pixels[0]) == [5, 15, 25, 35]


def test_views_are_temporal_major(tmp_path: Path) -> None:
    wide = write_video(tmp_path / "a.mp4", options=X264_CLOSED, size=(128, 64))
    spec = replace(SPEC, temporal_views=2, spatial_views=3)
    clip = load_clip(wide, "a", spec)
    assert clip.pixels.shape == (6, 3, 4, 64, 64)
    for temporal in range(2):
        one = load_clip(wide, "a", replace(spec, spatial_views=1, temporal_views=2)).pixels[temporal]
        assert (clip.pixels[3 * temporal + 1] == one).all()
    left, right = clip.pixels[3, 0, :, ::16, ::16], clip.pixels[5, 0, :, ::16, ::16]  # second temporal view
    # Segments of 10 frames, three quarters in: frames 7, 17, 27, 37. Bits 0 1 4 5 are in the left half, 2 3 6 7 right.
    assert [[int(b > 127) for b in (f[0, 0], f[0, 2], f[2, 0], f[2, 2])] for f in left] == [
        [n >> bit & 1 for bit in (0, 1, 4, 5)] for n in (7, 17, 27, 37)
    ]
    assert [[int(b > 127) for b in (f[0, 0], f[0, 2], f[2, 0], f[2, 2])] for f in right] == [
        [n >> bit & 1 for bit in (2, 3, 6, 7)] for n in (7, 17, 27, 37)
    ]


def test_controls(video: Path) -> None:
    assert view_codes(load_clip(video, "a", replace(SPEC, frame_order="reversed")).pixels[0]) == [35, 25, 15, 5]
    assert view_codes(load_clip(video, "a", replace(SPEC, frame_order="single")).pixels[0]) == [25] * 4


def test_a_clip_of_one_frame_repeats_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=1, options=X264_CLOSED, size=(64, 64))
    assert view_codes(load_clip(path, "a", SPEC).pixels[0]) == [0] * 4


def test_the_same_bytes_in_a_fresh_process(video: Path) -> None:
    program = (
        "import hashlib, sys; from pathlib import Path; from tvts_bench.video.clips import load_clip;"
        "from tvts_bench.video.spec import ClipSpec;"
        "clip = load_clip(Path(sys.argv[1]), 'a', ClipSpec(position='random', seed=7));"
        "print(hashlib.sha256(clip.pixels.numpy().tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program, str(video)], capture_output=True, text=True, check=True)
    clip = load_clip(video, "a", ClipSpec(position="random", seed=7))
    assert run.stdout.strip() == hashlib.sha256(clip.pixels.numpy().tobytes()).hexdigest()
    assert run.stderr == ""


def test_both_decoders_give_the_same_clip(video: Path) -> None:
    spec = ClipSpec(position="random", temporal_views=2, sampling="dense")
    first, second = (load_clip(video, "a", spec, decoder).pixels for decoder in DECODERS)
    assert np.array_equal(first, second)


def test_a_bad_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(VideoDecodeError, match=rf"cannot read {tmp_path}/a\.mp4: it is not a video"):
        load_clip(tmp_path / "a.mp4", "a", SPEC)


def test_a_frame_too_thin_to_crop_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    thin = write_video(tmp_path / "thin.mp4", "mpeg4", num_frames=2, size=(4096, 2))
    with pytest.raises(VideoDecodeError, match=r"thin\.mp4: its frames are 4096 x 2 pixels"):
        load_clip(thin, "thin", SPEC)


def test_an_augmented_view_is_the_training_clip_of_its_seed(video: Path) -> None:
    augment = ClipAugment(flip=1.0, crop="jitter", operations=0, erase=0.0)
    spec = SPEC.varied(augment, seed=3)
    pixels = load_clip(video, "a", spec).pixels
    assert pixels.shape == (1, 3, 4, 64, 64)
    assert torch.equal(pixels, load_clip(video, "a", spec).pixels)
    assert not torch.equal(pixels, load_clip(video, "a", replace(spec, seed=4)).pixels)
    assert not torch.equal(pixels, load_clip(video, "b", spec).pixels)
    unvaried = replace(spec, augment=None)
    mirrored = load_clip(video, "a", SPEC.varied(replace(augment, crop="center"), seed=3)).pixels.flip(-1)
    assert torch.equal(mirrored, load_clip(video, "a", unvaried).pixels)  # the same random frames


def test_an_augmented_view_has_no_spatial_views() -> None:
    with pytest.raises(UserError, match="one spatial view, got 3"):
        replace(SPEC, spatial_views=3, augment=ClipAugment())
