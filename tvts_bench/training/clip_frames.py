"""Frames of training videos, some of them kept decoded between epochs."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvts_bench.video.clips import MAX_ASPECT
from tvts_bench.video.reader import VideoDecodeError, decode_frames
from tvts_bench.video.sampling import Sample

_SHORT = 64  # frames; only videos up to this length are decoded whole, to be kept


@dataclass(kw_only=True)
class FrameMemory:
    """Reads frames by index; keeps short videos decoded, up to `limit` bytes, so that later epochs cost no decoding.

    What it returns is the same with and without room. It is of one process: each worker has its own.
    """

    decoder: str = "decord"
    limit: int = 0  # bytes; 0 keeps nothing
    held: int = 0  # bytes
    _videos: dict[Path, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def frames(self, path: Path, sample: Sample) -> NDArray[np.uint8]:
        """The frames that `sample(number of frames)` picks: uint8 [T, H, W, 3]; not to be written to.

        Raises:
            VideoDecodeError: the file cannot be read completely, or its frames cannot be cropped.
        """
        video = self._videos.get(path)
        if video is not None:
            return video[sample(len(video))]
        wants_all = self.held < self.limit

        def all_or_some(num_frames: int) -> NDArray[np.int64]:
            whole = wants_all and num_frames <= _SHORT
            return np.arange(num_frames, dtype=np.int64) if whole else sample(num_frames)

        decoded = decode_frames(path, all_or_some, self.decoder)
        height, width = decoded.frames.shape[1:3]
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise VideoDecodeError(path, f"its frames are {width} x {height} pixels, too long and thin to be cropped")
        if not wants_all or decoded.num_frames > _SHORT:
            return decoded.frames
        if self.held + decoded.frames.nbytes <= self.limit:
            self._videos[path] = decoded.frames
            self.held += decoded.frames.nbytes
        return decoded.frames[sample(decoded.num_frames)]
