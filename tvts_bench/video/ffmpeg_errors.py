"""Whether FFmpeg inside decord complained, which decord itself does not pass on.

FFmpeg conceals what it cannot decode: it fills in guessed pixels, prints an error and goes on. decord offers no way to
hear of that, and a log callback in Python costs a tenth of the decoding, since FFmpeg calls it for each message that
nobody wants. So FFmpeg prints its errors as it always does, into memory: C's `stderr` is a variable that may be set
(glibc's manual, "Standard Streams"). Python's own `sys.stderr` and the terminal's file descriptor stay as they are.
"""

import ctypes
import os
import threading
from types import TracebackType
from typing import Self


class CapturedErrors:
    """Within it, what C code prints as errors is kept from the terminal; afterwards `any` tells whether there was some.

    Several threads may be in it at once; what one of them causes then counts for all.
    """

    _lock = threading.Lock()
    _depth, _saved = 0, None
    _sink: "tuple[int, int, int] | None" = (
        None  # process, C's FILE, descriptor; never closed, as others may write to it
    )

    @staticmethod
    def supported() -> bool:
        """Whether this C library lets its error stream be replaced, as glibc does."""
        return hasattr(_C, "stderr") and hasattr(os, "memfd_create")

    def __enter__(self) -> Self:
        cls = type(self)
        self.any = False
        with cls._lock:
            _, file, _ = cls._sink = cls._sink if cls._sink and cls._sink[0] == os.getpid() else _new_sink()
            if cls._depth == 0:
                cls._saved, _stderr().value = _stderr().value, file
            cls._depth += 1
            self._start = _C.ftell(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cls = type(self)
        assert cls._sink is not None
        _, file, descriptor = cls._sink
        with cls._lock:
            self.any = _C.ftell(file) > self._start
            cls._depth -= 1
            if cls._depth == 0:
                _stderr().value = cls._saved
                _C.rewind(file)
                os.ftruncate(descriptor, 0)


_C = ctypes.CDLL(None)
_C.fdopen.restype, _C.fdopen.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p)
_C.ftell.restype, _C.ftell.argtypes = ctypes.c_long, (ctypes.c_void_p,)
_C.rewind.restype, _C.rewind.argtypes = None, (ctypes.c_void_p,)


def _stderr() -> ctypes.c_void_p:
    return ctypes.c_void_p.in_dll(_C, "stderr")


def _new_sink() -> tuple[int, int, int]:
    descriptor = os.memfd_create("ffmpeg-errors", os.MFD_CLOEXEC)
    return os.getpid(), _C.fdopen(descriptor, b"w"), descriptor
