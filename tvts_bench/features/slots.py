"""Pixels from worker processes through shared memory, so that pipes carry only short messages."""

import mmap
import os
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PixelSlots:
    """Anonymous shared memory cut into equal slots of one clip's pixels each.

    Linux's memfd: gone when the last process that holds it is gone, however that dies, and not bound by the size of
    /dev/shm, which is 64 MiB in a container. Passing it to a process as it is started maps the same memory there.
    """

    def __init__(self, count: int, shape: tuple[int, ...], descriptor: int | None = None) -> None:
        size = count * int(np.prod(shape))
        if descriptor is None:
            descriptor = os.memfd_create("tvts-bench-clips")
            os.ftruncate(descriptor, size)
        self.count, self.shape, self.descriptor = count, shape, descriptor
        self._slots = np.frombuffer(mmap.mmap(descriptor, size), dtype=np.uint8).reshape(count, *shape)

    @staticmethod
    def supported() -> bool:
        """Whether this system has anonymous shared files; without them pixels go through the workers' pipe."""
        return hasattr(os, "memfd_create")

    def __getitem__(self, slot: int) -> NDArray[np.uint8]:
        """The pixels in one slot, a view of `shape`."""
        view: NDArray[np.uint8] = self._slots[slot]
        return view

    def close(self) -> None:
        """Give the memory back as soon as the last view of it is gone."""
        os.close(self.descriptor)
        del self._slots

    def __reduce__(self) -> tuple[Callable[..., "PixelSlots"], tuple[Any, ...]]:
        return _attach, (reduction.DupFd(self.descriptor), self.count, self.shape)


def _attach(descriptor: Any, count: int, shape: tuple[int, ...]) -> PixelSlots:
    return PixelSlots(count, shape, descriptor.detach())
