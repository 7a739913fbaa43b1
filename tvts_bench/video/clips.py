"""One video file to the clips a backbone sees."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tvts_bench.video.reader import VideoDecodeError, decode_frames
from tvts_bench.video.sampling import clip_indices
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import resize_and_crop

MAX_ASPECT = 50  # longer side / shorter side; a frame of 1 x 5000 resized to a short side of 224 would need gigabytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """All views of one video, still as bytes, and what it was read with."""

    pixels: Tensor  # uint8 [num_views, 3, T, crop, crop], temporal-major: view = temporal * spatial_views + spatial
    num_frames: int  # frames the file has
    decoder: str  # "decord 0.6.0"


def load_clip(path: Path, record_id: str, spec: ClipSpec, decoder: str = "decord") -> Clip:
    """The clip that `spec` cuts out of the file; the same file, id and spec give the same bytes each time.

    Raises:
        VideoDecodeError: the file cannot be read completely; one sentence that names it.
    """
    decoded = decode_frames(path, lambda n: clip_indices(n, spec, record_id).ravel(), decoder)
    height, width = decoded.frames.shape[1:3]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise VideoDecodeError(path, f"its frames are {width} x {height} pixels, too long and thin to be cropped")
    crops = resize_and_crop(decoded.frames, spec)  # [spatial, 3, temporal * T, crop, crop]
    spatial, channels, _, crop, _ = crops.shape
    by_time = crops.view(spatial, channels, spec.temporal_views, spec.num_frames, crop, crop)
    pixels = by_time.permute(2, 0, 1, 3, 4, 5).reshape(spec.num_views, channels, spec.num_frames, crop, crop)
    return Clip(pixels=pixels, num_frames=decoded.num_frames, decoder=decoded.decoder)
