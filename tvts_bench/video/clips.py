"""One video file to the clips a backbone sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import decode_frames
from tvts_bench.video.sampling import clip_indices, clip_rng
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import augment_clip, resize_and_crop

MAX_ASPECT = 50  # longer side / shorter side; a frame of 1 x 5000 resized to a short side of 224 would need gigabytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """All views of one video, still as bytes, and what it was read with."""

    pixels: Tensor  # uint8 [num_views, 3, T, crop, crop], temporal-major: view = temporal * spatial_views + spatial
    num_frames: int  # frames the file has
    decoder: str  # "decord 0.6.0"
    damaged: int = 0  # frames on the way to it that are lost or partly made up (`DecodedFrames.damaged`)


def load_clip(path: Path, record_id: str, spec: ClipSpec, decoder: str = "decord") -> Clip:
    """The clip that `spec` cuts out of a video; the same file, id and spec give the same bytes each time.

    Args:
        path: The video.
        record_id: What its random choices are drawn by, with the spec's seed.
        spec: Which frames, and which pixels of them.
        decoder: Of `video.reader.DECODERS`.

    Raises:
        VideoDecodeError: The file cannot be read completely; one sentence that names it.
    """
    decoded = decode_frames(path, lambda n: clip_indices(n, spec, record_id).ravel(), decoder)
    frames = decoded.frames  # [temporal * T, H, W, 3]
    require_croppable(path, frames)
    if spec.augment is None:
        crops = resize_and_crop(frames, spec)  # [spatial, 3, temporal * T, crop, crop]
        by_time = crops.unflatten(2, (spec.temporal_views, spec.num_frames))
        pixels = by_time.permute(2, 0, 1, 3, 4, 5).flatten(0, 1)
    else:
        rng = clip_rng(spec, f"augment/{record_id}")
        views = np.split(frames, spec.temporal_views)
        pixels = torch.stack([augment_clip(view, spec.augment, spec, rng) for view in views])
    return Clip(pixels=pixels, num_frames=decoded.num_frames, decoder=decoded.decoder, damaged=decoded.damaged)


def require_croppable(path: Path, frames: NDArray[np.uint8]) -> None:
    """Refuse frames [T, H, W, 3] whose resized copies would take too much memory.

    Raises:
        VideoDecodeError: One side is more than `MAX_ASPECT` times the other.
    """
    height, width = frames.shape[1:3]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise VideoDecodeError(path, f"its frames are {width} x {height} pixels, too long and thin to be cropped")
