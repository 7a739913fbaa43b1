"""One clip: how it is decoded, in this process or in a worker, and what may come of it."""

import errno
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pebble import CONSTS
from torch import Tensor

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure
from tvts_bench.features.slots import PixelSlots
from tvts_bench.video.clips import load_clip
from tvts_bench.video.container import VideoDecodeError
from tvts_bench.video.spec import ClipSpec

MOMENTARY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # not the file's fault


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How every clip of a run is decoded."""

    clip: ClipSpec
    decoder: str
    workers: int  # processes; 0 decodes here, without protection from files that hang or crash
    timeout: float  # seconds a file

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a clip's pixels: [views, 3, T, crop, crop]."""
        return (self.clip.num_views, 3, self.clip.num_frames, self.clip.crop, self.clip.crop)


class Decoded(NamedTuple):
    """A clip that could be read."""

    pixels: Tensor  # uint8 [views, 3, T, crop, crop]; the memory is used again once the next clip is asked for
    decoder: str  # what read it, with its version


def decode(record: VideoRecord, decoding: Decoding) -> Decoded | Failure:
    """The record's clip, or why it cannot be read."""
    try:
        clip = load_clip(record.path, record.id, decoding.clip, decoding.decoder)
    except (VideoDecodeError, MemoryError) as error:
        return failure_of(error, record.path)
    except Exception as error:
        error.add_note(f"while decoding {record.path}")
        raise
    assert tuple(clip.pixels.shape) == decoding.shape, (record.path, clip.pixels.shape, decoding.shape)
    return Decoded(clip.pixels, clip.decoder)


def failure_of(error: VideoDecodeError | MemoryError, path: Path) -> Failure:
    """Why the video at `path` could not be read, and whether that is the moment's fault."""
    if isinstance(error, MemoryError):
        return Failure(reason=f"out of memory while decoding {path}", retry=True)
    cause = error.__cause__
    momentary = isinstance(cause, TimeoutError) or getattr(cause, "errno", None) in MOMENTARY
    return Failure(reason=str(error), retry=momentary)


# What follows runs in the workers.

# A worker that is killed while it holds the lock of the pool's pipe (for microseconds, since messages are short) takes
# it along. The others then give up after this time, and a new pool takes over.
LOCK_SECONDS = 5.0

Message = Failure | tuple[NDArray[np.uint8] | None, str]  # pixels are None where they are in the slot
_job: tuple[Decoding, PixelSlots | None] | None = None


def start_worker(decoding: Decoding, slots: PixelSlots | None) -> None:
    """Make this process a worker of the one that started it."""
    global _job
    _job = (decoding, slots)
    CONSTS.channel_lock_timeout = LOCK_SECONDS
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of Python's own would wait for the decoder to return
    torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A worker busy with a file that hangs would never notice that it is alone."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def work(record: VideoRecord, slot: int) -> Message:
    """`decode`, with the pixels left in shared memory where there is some."""
    assert _job is not None
    decoding, slots = _job
    outcome = decode(record, decoding)
    if isinstance(outcome, Failure):
        return outcome
    pixels = outcome.pixels.numpy()
    if slots is None:
        return pixels, outcome.decoder
    slots[slot][...] = pixels
    return None, outcome.decoder
