"""Fast decoding with decord, for files on which its seeking is exact (`PacketIndex.seekable`).

FFmpeg conceals what it cannot decode: it fills in guessed pixels, prints an error and carries on. decord offers no way
to hear of that, and a log callback in Python costs a tenth of the decoding, since FFmpeg calls it for each message that
nobody wants. So FFmpeg prints its errors as it always does, into memory: C's `stderr` is a variable that may be set
(glibc's manual, "Standard Streams"). Python's own `sys.stderr` and the terminal's file descriptor stay as they are.
"""

import ctypes
import os
import threading
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from tvts_bench.video.packet_index import PacketIndex
from tvts_bench.video.sampling import IntArray, Sample

NO_FAULTS = 1e-9  # decord's `fault_tol`: raise at the first frame it would fill in with a copy of the one before

FAILURES = (RuntimeError, AssertionError, UnicodeError)  # what decord's Python side raises beside its own two errors


def decode(path: Path, index: PacketIndex, sample: Sample) -> NDArray[np.uint8] | None:
    """Decode the frames that are wanted, and as few others as possible.

    Args:
        path: The video.
        index: Of its packets.
        sample: From the number of frames to the indices of those wanted.

    Returns:
        The frames [T, H, W, 3]. None if decord cannot read the file; where a frame on the way to them is damaged, since
        decoders guess differently what was there; and where the system does not let damage be noticed.
    """
    if not CapturedErrors.supported():
        return None
    indices = sample(index.num_frames)
    ordered, inverse = np.unique(indices, return_inverse=True)
    with CapturedErrors() as errors:
        frames = _read(path, index, ordered)
    if frames is None or errors.any:
        return None
    return frames if np.array_equal(ordered, indices) else frames[inverse]


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


class CapturedErrors:
    """Within it, what C code prints as errors is kept from the terminal; afterwards `any` tells whether there was some.

    Several threads may be in it at once; what one of them causes then counts for all.
    """

    _lock = threading.Lock()
    _depth = 0
    _saved: int | None = None
    _process, _file, _descriptor = 0, 0, 0  # C's FILE and its descriptor; never closed, as others may write to it

    @staticmethod
    def supported() -> bool:
        """Whether this C library lets its error stream be replaced, as glibc does."""
        return hasattr(_C, "stderr") and hasattr(os, "memfd_create")

    def __enter__(self) -> Self:
        cls = type(self)
        self.any = False
        with cls._lock:
            if cls._process != os.getpid():
                cls._descriptor = os.memfd_create("ffmpeg-errors", os.MFD_CLOEXEC)
                cls._process, cls._file = os.getpid(), _C.fdopen(cls._descriptor, b"w")
            if cls._depth == 0:
                cls._saved, _stderr().value = _stderr().value, cls._file
            cls._depth += 1
            self._start = _C.ftell(cls._file)
        return self

    def __exit__(self, *error: object) -> None:
        cls = type(self)
        with cls._lock:
            self.any = _C.ftell(cls._file) > self._start
            cls._depth -= 1
            if cls._depth == 0:
                _stderr().value = cls._saved
                _C.rewind(cls._file)
                os.ftruncate(cls._descriptor, 0)


_C = ctypes.CDLL(None)
_C.fdopen.restype, _C.fdopen.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p)
_C.ftell.restype, _C.ftell.argtypes = ctypes.c_long, (ctypes.c_void_p,)
_C.rewind.restype, _C.rewind.argtypes = None, (ctypes.c_void_p,)


def _stderr() -> ctypes.c_void_p:
    return ctypes.c_void_p.in_dll(_C, "stderr")
