"""Fast decoding with decord, for files on which its seeking is exact (`PacketIndex.seekable`)."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from tvts_bench.video.container import PacketIndex
from tvts_bench.video.ffmpeg_errors import CapturedErrors
from tvts_bench.video.sampling import IntArray, Sample

NO_FAULTS = 1e-9  # decord's `fault_tol`: raise at the first frame it would fill in with a copy of the one before

FAILURES = (RuntimeError, AssertionError, UnicodeError)  # what decord's Python side raises beside its own two errors


def decode(path: Path, index: PacketIndex, sample: Sample) -> NDArray[np.uint8] | None:
    """The frames [T, H, W, 3] that `sample` picks of `index.num_frames`, or None if decord cannot read the file.

    None also where a frame on the way to them is damaged: decoders guess differently what was there. And where the
    system does not let damage be noticed.
    """
    if not CapturedErrors.supported():
        return None
    indices = sample(index.num_frames)
    ordered, place = np.unique(indices, return_inverse=True)
    with CapturedErrors() as errors:
        frames = _read(path, index, ordered)
    if frames is None or errors.any:
        return None
    return frames if np.array_equal(ordered, indices) else frames[place]


def _read(path: Path, index: PacketIndex, indices: IntArray) -> NDArray[np.uint8] | None:
    """The reader lives for one call: decord leaks memory when readers are kept, and must not cross a fork."""
    import decord  # here, not above: a process that only uses PyAV does not load a second FFmpeg

    decord.logging.set_level(decord.logging.ERROR)  # not set back: other threads may be reading
    try:
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1, fault_tol=NO_FAULTS)  # noqa: PTH100
        if len(reader) != index.num_frames:
            return None
        batch = reader.get_batch(indices)
    except (*FAILURES, decord.DECORDError, decord.DECORDLimitReachedError):  # 1x1 pixel, undecodable packets, ...
        return None
    frames: NDArray[np.uint8] = from_dlpack(batch.to_dlpack()).numpy()  # decord's own conversion copies
    return frames
