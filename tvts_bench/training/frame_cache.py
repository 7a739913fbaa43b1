"""Frames of training videos, some of them kept decoded between epochs."""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvts_bench.processes import run_with_timeout
from tvts_bench.snapshot import UNREADABLE, content_sha256
from tvts_bench.video.clips import require_croppable
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import decode_frames
from tvts_bench.video.sampling import Sample

_SHORT = 64  # frames; only videos up to this length are decoded whole, to be kept


@dataclass(kw_only=True)
class FrameCache:
    """Reads frames by index; keeps short videos decoded, up to `limit` bytes, so that later epochs cost no decoding.

    What it returns is the same with and without room. It is of one process: each worker has its own.
    """

    decoder: str = "decord"
    limit: int = 0  # bytes; 0 keeps nothing
    seconds: float = math.inf  # to read one file; one that took longer is not tried again
    held: int = 0  # bytes
    _videos: dict[Path, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _slow: set[Path] = field(default_factory=set, repr=False)

    def frames(self, path: Path, sample: Sample) -> NDArray[np.uint8]:
        """The frames that `sample(number of frames)` picks: uint8 [T, H, W, 3]; not to be written to.

        Raises:
            VideoDecodeError: the file cannot be read completely, or in time, or its frames cannot be cropped.
        """
        video = self._videos.get(path)
        if video is not None:
            return video[sample(len(video))]
        wants_all = self.held < self.limit

        def all_or_some(num_frames: int) -> NDArray[np.int64]:
            whole = wants_all and num_frames <= _SHORT
            return np.arange(num_frames, dtype=np.int64) if whole else sample(num_frames)

        frames, num_frames = self._read(path, all_or_some)
        require_croppable(path, frames)
        if not wants_all or num_frames > _SHORT:
            return frames
        if self.held + frames.nbytes <= self.limit:
            self._videos[path] = frames
            self.held += frames.nbytes
        return frames[sample(num_frames)]

    def content(self, path: Path) -> str:
        """sha256 (hex) of the file, `UNREADABLE` for one that cannot be read in time."""
        try:
            return UNREADABLE if path in self._slow else run_with_timeout(self.seconds, partial(content_sha256, path))
        except TimeoutError:
            self._slow.add(path)
            return UNREADABLE

    def _read(self, path: Path, sample: Sample) -> tuple[NDArray[np.uint8], int]:
        """The frames of the file, and how many it has."""
        try:
            if path in self._slow:
                raise TimeoutError
            decoded = run_with_timeout(self.seconds, partial(decode_frames, path, sample, self.decoder))
        except TimeoutError as error:
            self._slow.add(path)
            raise VideoDecodeError(path, f"decoding it takes longer than {self.seconds:g} s") from error
        return decoded.frames, decoded.num_frames
