"""One clip: how it is decoded, in this process or in a worker, and what may come of it."""

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
from tvts_bench.devices import is_out_of_memory
from tvts_bench.features.base import Failure
from tvts_bench.features.slots import PixelSlots
from tvts_bench.processes import LOCK_SECONDS
from tvts_bench.regular_file import TRANSIENT_ERRORS
from tvts_bench.snapshot import content_sha256, signature
from tvts_bench.video.clips import load_clip
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How every clip of a run is decoded."""

    clip: ClipSpec
    decoder: str
    workers: int  # processes; 0 decodes here, without protection from files that hang or crash
    timeout: float  # seconds a file
    hashed: bool = True  # whether the content of every file is hashed, which costs little: it is read anyway

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a clip's pixels: [views, 3, T, crop, crop]."""
        return (self.clip.num_views, 3, self.clip.num_frames, self.clip.crop, self.clip.crop)


class Decoded(NamedTuple):
    """A clip that could be read."""

    pixels: Tensor  # uint8 [views, 3, T, crop, crop]; the memory is used again once the next clip is asked for
    decoder: str  # what read it, with its version
    sha256: str | None  # of the file's content; None where it was not to be hashed, or changed meanwhile
    damaged: bool = False  # whether some of what was decoded for it is made up


def decode(record: VideoRecord, decoding: Decoding) -> Decoded | Failure:
    """The record's clip, or why it cannot be read."""
    path, before = record.path, signature(record.path)
    sha256: str | None = None
    try:
        # First, since a disk that does not answer is told here from a damaged file, which FFmpeg does not do.
        sha256 = _content(path) if decoding.hashed else None
        clip = load_clip(path, record.id, decoding.clip, decoding.decoder)
    except VideoDecodeError as error:
        return Failure(reason=str(error), retry=error.transient, sha256=sha256 if signature(path) == before else None)
    except Exception as error:
        if reason := _shortage(error):
            return Failure(reason=f"cannot read {path}: {reason}", retry=True)
        error.add_note(f"while decoding {path}")
        raise
    assert tuple(clip.pixels.shape) == decoding.shape, (path, clip.pixels.shape, decoding.shape)
    unchanged = signature(path) == before
    return Decoded(clip.pixels, clip.decoder, sha256 if unchanged else None, clip.damaged > 0)


def _content(path: Path) -> str | None:
    """sha256 of the file's content; None where the file itself is why it cannot be read, which decoding explains.

    Raises:
        OSError: the system is at fault.
    """
    try:
        return content_sha256(path)
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise
        return None


def _shortage(error: Exception) -> str:
    """What the system was short of, or a disk's want of an answer; empty where `error` is of another kind.

    Libraries that are loaded for the first file tell of it in words only.
    """
    if is_out_of_memory(error):
        return "out of memory"
    if not isinstance(error, OSError | ImportError):
        return ""
    numbers = (
        number
        for number in TRANSIENT_ERRORS
        if number == getattr(error, "errno", None) or os.strerror(number) in str(error)
    )
    return next((f"the system says {os.strerror(number)}" for number in numbers), "")


# What follows runs in the workers.

Message = (
    Failure | tuple[NDArray[np.uint8] | None, str, str | None, bool]
)  # as `Decoded`; pixels are None where they are in the slot
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
        return pixels, *outcome[1:]
    slots[slot][...] = pixels
    return None, *outcome[1:]
