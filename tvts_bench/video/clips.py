"""One video file to the clips a backbone sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench.video.augment import augment_clip
from tvts_bench.video.reader import VideoDecodeError, decode_frames
from tvts_bench.video.sampling import clip_indices, clip_rng
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import resize_and_crop

MAX_ASPECT = 50  # longer side / shorter side; a frame of 1 x 5000 resized to a short side of 224 would need gigabytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """All views of one video, still as bytes, and what it was read with."""

    pixels: Tensor  # uint8 [num_views, 3, T, crop, crop], temporal-major: view = temporal * spatial_views + spatial
    num_frames: int  # frames the file has
    decoder: str  # "decord 0.6.0"
    damaged: int = 0  # frames on the way to it that are lost or partly made up (`DecodedFrames.damaged`)


def load_clip(path: Path, record_id: str, spec: ClipSpec, decoder: str = "decord") -> Clip:
    """The clip that `spec` cuts out of the file; the same file, id and spec give the same bytes each time.

    Raises:
        VideoDecodeError: the file cannot be read completely; one sentence that names it.
    """
    decoded = decode_frames(path, lambda n: clip_indices(n, spec, record_id).ravel(), decoder)
    height, width = decoded.frames.shape[1:3]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise VideoDecodeError(path, f"its frames are {width} x {height} pixels, too long and thin to be cropped")
    pixels = _views(decoded.frames, spec) if spec.augment is None else _varied(decoded.frames, spec, record_id)
    return Clip(pixels=pixels, num_frames=decoded.num_frames, decoder=decoded.decoder, damaged=decoded.damaged)


def _views(frames: NDArray[np.uint8], spec: ClipSpec) -> Tensor:
    """Of [temporal * T, H, W, 3], all views."""
    crops = resize_and_crop(frames, spec)  # [spatial, 3, temporal * T, crop, crop]
    spatial, channels, _, crop, _ = crops.shape
    by_time = crops.view(spatial, channels, spec.temporal_views, spec.num_frames, crop, crop)
    return by_time.permute(2, 0, 1, 3, 4, 5).reshape(spec.num_views, channels, spec.num_frames, crop, crop)


def _varied(frames: NDArray[np.uint8], spec: ClipSpec, record_id: str) -> Tensor:
    """Of [temporal * T, H, W, 3], every temporal view, varied by itself."""
    assert spec.augment is not None
    rng = clip_rng(spec, f"augment/{record_id}")
    parts = np.split(frames, spec.temporal_views)
    return torch.stack([augment_clip(part, spec.augment, spec, rng) for part in parts])
