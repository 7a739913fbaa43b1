"""Clips of records, decoded ahead by worker processes. A file that hangs or crashes costs its worker, not the run."""

import itertools
import mmap
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import reduction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.devices import is_out_of_memory
from tvts_bench.features.base import Failure
from tvts_bench.processes import CLIP_DECODING, Unanswered, WorkerPool, run_with_timeout
from tvts_bench.provenance import file_sha256
from tvts_bench.regular_file import TRANSIENT_ERRORS
from tvts_bench.snapshot import signature
from tvts_bench.video.clips import load_clip
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.spec import ClipSpec

AHEAD = 4  # clips a worker may be ahead of the forward pass: bounds memory, evens out slow files


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How every clip of a run is decoded."""

    clip: ClipSpec
    decoder: str
    workers: int  # processes; 0 decodes here, without protection from files that hang or crash
    timeout: float  # seconds per file
    hashed: bool = True  # whether the content of every file is hashed, which costs little: it is read anyway

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a clip's pixels: [views, 3, T, crop, crop]."""
        return (self.clip.num_views, 3, self.clip.num_frames, self.clip.crop, self.clip.crop)


class Decoded(NamedTuple):
    """A clip that could be read."""

    pixels: Tensor  # uint8 [views, 3, T, crop, crop]; the memory is used again once the next clip is requested
    decoder: str  # what read it, with its version
    sha256: str | None  # of the file's content; None where it was not to be hashed, or changed meanwhile
    damaged: bool = False  # whether some of what was decoded for it is made up


def decode(record: VideoRecord, decoding: Decoding) -> Decoded | Failure:
    """The record's clip, or why it cannot be read."""
    path, before = record.path, signature(record.path)
    sha256: str | None = None
    try:
        # First, since this tells a disk that does not answer from a damaged file, and FFmpeg does not.
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
        OSError: The system is at fault.
    """
    try:
        return file_sha256(path)
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
    texts = {number: os.strerror(number) for number in TRANSIENT_ERRORS}
    return next(
        (
            f"the system says {text}"
            for number, text in texts.items()
            if number == getattr(error, "errno", None) or text in str(error)
        ),
        "",
    )


class SharedFrameBuffer:
    """Pixels from worker processes, so that pipes carry only short messages: shared memory of one slot per clip.

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

    def __reduce__(self) -> tuple[Callable[..., "SharedFrameBuffer"], tuple[Any, ...]]:
        return _attach, (reduction.DupFd(self.descriptor), self.count, self.shape)


def _attach(descriptor: Any, count: int, shape: tuple[int, ...]) -> SharedFrameBuffer:
    return SharedFrameBuffer(count, shape, descriptor.detach())


def load_clips(records: Sequence[VideoRecord], decoding: Decoding) -> Generator[Decoded | Failure, None, None]:
    """The clip of each record, or why there is none, in the order of `records`.

    Close the generator (`contextlib.closing`) to stop the workers before it is exhausted.

    Raises:
        UserError: Worker processes cannot be started.
    """
    if decoding.workers == 0:
        for record in records:
            try:
                yield run_with_timeout(decoding.timeout, partial(decode, record, decoding))
            except TimeoutError:
                yield _failure(record, Unanswered(timed_out=True), decoding)
        return
    workers = min(decoding.workers, max(1, len(records)))
    slots = list(range(AHEAD * workers))
    buffer: SharedFrameBuffer | None = None
    done: dict[int, tuple[int, Decoded | Failure]] = {}  # number of the record -> its slot, what came of it

    def setup() -> Callable[[], None]:
        nonlocal buffer
        if buffer is not None:
            buffer.close()
        buffer = SharedFrameBuffer(AHEAD * workers, decoding.shape) if SharedFrameBuffer.supported() else None
        return partial(_start_worker, decoding, buffer)

    try:
        with WorkerPool(_work, workers=workers, timeout=decoding.timeout, preload=CLIP_DECODING, setup=setup) as pool:
            following = enumerate(records)
            for number in range(len(records)):
                for job in itertools.islice(following, len(slots)):
                    pool.submit((*job, slots.pop()))
                while number not in done:
                    (each, record, slot), answer = pool.next_answer()
                    if isinstance(answer, Unanswered):
                        answer = _failure(record, answer, decoding)
                    elif isinstance(answer, Decoded):
                        pixels: Any = answer.pixels if buffer is None else buffer[slot]
                        answer = answer._replace(pixels=torch.from_numpy(pixels))
                    done[each] = slot, answer
                slot, outcome = done.pop(number)
                yield outcome
                slots.append(slot)
    finally:
        if buffer is not None:
            buffer.close()


def _failure(record: VideoRecord, why: Unanswered, decoding: Decoding) -> Failure:
    """Of a clip that took longer than its time limit, or crashed its worker."""
    if why.timed_out:
        return Failure(reason=f"decoding {record.path} timed out after {decoding.timeout:g} s", retry=True)
    how = ""
    if why.exit_code is not None:
        how = f" (exit code {why.exit_code})"
        with suppress(ValueError):
            how = f" ({signal.Signals(-why.exit_code).name})"
    return Failure(reason=f"decoding {record.path} crashed the worker{how}", retry=True)


_job: tuple[Decoding, SharedFrameBuffer | None] | None = None  # of a worker


def _start_worker(decoding: Decoding, buffer: SharedFrameBuffer | None) -> None:
    global _job
    _job = (decoding, buffer)
    torch.set_num_threads(1)


def _work(task: tuple[int, VideoRecord, int]) -> Decoded | Failure:
    """`decode` in a worker: pixels are left in the slot where memory is shared, else sent as an array."""
    assert _job is not None
    decoding, buffer = _job
    _, record, slot = task
    outcome = decode(record, decoding)
    if isinstance(outcome, Failure):
        return outcome
    pixels: Any = outcome.pixels.numpy()
    if buffer is not None:
        buffer[slot][...] = pixels
        pixels = None
    return outcome._replace(pixels=pixels)
