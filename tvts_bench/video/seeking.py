"""Fast decoding with decord, for files on which its seeking is exact (`PacketIndex.seekable`)."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from tvts_bench.video.container import PacketIndex
from tvts_bench.video.sampling import Sample

NO_FAULTS = 1e-9  # decord's `fault_tol`: raise at the first frame it would fill in with a copy of the one before

FAILURES = (RuntimeError, AssertionError, UnicodeError)  # what decord's Python side raises beside its own two errors


def decode(path: Path, index: PacketIndex, sample: Sample) -> NDArray[np.uint8] | None:
    """The frames [T, H, W, 3] that `sample` picks of `index.num_packets`, or None if decord cannot read the file.

    The reader lives for one call: decord leaks memory when readers are kept, and must not cross a fork.
    """
    import decord  # here, not above: a process that only uses PyAV does not load a second FFmpeg

    decord.logging.set_level(decord.logging.QUIET)
    indices = sample(index.num_packets)
    ordered, place = np.unique(indices, return_inverse=True)
    try:
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1, fault_tol=NO_FAULTS)  # noqa: PTH100
        if len(reader) != index.num_packets:
            return None
        batch = reader.get_batch(ordered)
    except (*FAILURES, decord.DECORDError, decord.DECORDLimitReachedError):  # 1x1 pixel, undecodable packets, ...
        return None
    frames: NDArray[np.uint8] = from_dlpack(batch.to_dlpack()).numpy()  # decord's own conversion copies
    return frames if np.array_equal(ordered, indices) else frames[place]
