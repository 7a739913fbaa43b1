"""Clips decoded ahead by worker processes. A file that hangs or crashes its worker costs that worker, not the run."""

import itertools
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType

import torch
from pebble import ProcessExpired, ProcessPool

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure, FeatureError
from tvts_bench.features.decoding import Decoded, Decoding, Message, decode, start_worker, work
from tvts_bench.features.processes import decoding_context
from tvts_bench.features.slots import PixelSlots
from tvts_bench.processes import SERVER_ENDED, STALLED_SECONDS, TRIES
from tvts_bench.time_limit import run_with_timeout

AHEAD = 4  # clips a worker may be ahead of the forward pass: bounds memory, evens out slow files
POLL_SECONDS = 0.5  # how soon a pool that broke is noticed
STARTS = 2  # of a pool: what ends it as it starts may be from outside, too


def load_clips(records: Sequence[VideoRecord], decoding: Decoding) -> Generator[Decoded | Failure, None, None]:
    """The clip of each record, or why there is none, in the order of `records`.

    Close the generator (`contextlib.closing`) to stop the workers before it is exhausted.

    Raises:
        FeatureError: worker processes cannot be started.
    """
    if decoding.workers == 0:
        for record in records:
            try:
                yield run_with_timeout(decoding.timeout, partial(decode, record, decoding))
            except TimeoutError:
                yield timed_out(record, decoding)
        return
    workers = min(decoding.workers, max(1, len(records)))
    with _Pool(replace(decoding, workers=workers)) as pool:
        queue = iter(records)
        while True:
            pool.submit(itertools.islice(queue, pool.vacancies))
            if not pool.tasks:
                return
            yield pool.next_outcome()


def timed_out(record: VideoRecord, decoding: Decoding) -> Failure:
    """What is said of a clip that took longer than its time limit."""
    return Failure(reason=f"decoding {record.path} timed out after {decoding.timeout:g} s", retry=True)


@dataclass(eq=False)
class _Task:
    """One clip on its way. `future` is None where its worker or the pool ended under it: then it is tried again."""

    record: VideoRecord
    slot: int
    future: "Future[Message] | None" = None


class _Pool:
    """Worker processes, the clips in flight (oldest first), and the memory their pixels arrive in."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        self.tasks: deque[_Task] = deque()
        self.free = list(range(AHEAD * decoding.workers))
        self.slots = self._new_slots()
        self.lent: int | None = None  # the slot whose pixels the caller is looking at

    def _new_slots(self) -> PixelSlots | None:
        return PixelSlots(AHEAD * self.decoding.workers, self.decoding.shape) if PixelSlots.supported() else None

    def __enter__(self) -> "_Pool":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self.slots is not None:
            self.slots.close()

    @property
    def vacancies(self) -> int:
        """Clips that may be submitted now: none while one that may have broken the pool has to run alone."""
        self._take_back()
        return 0 if any(task.future is None for task in self.tasks) else len(self.free)

    def submit(self, records: Iterable[VideoRecord]) -> None:
        """Start decoding these clips."""
        for record in records:
            task = _Task(record, self.free.pop())
            self.tasks.append(task)
            self._schedule(task)

    def next_outcome(self) -> Decoded | Failure:
        """What became of the oldest clip in flight; waits for it."""
        task = self.tasks[0]
        outcome = self._finished(task)
        self.tasks.popleft()
        self.lent = task.slot
        if isinstance(outcome, Failure):
            return outcome
        pixels, decoder, sha256, damaged = outcome
        if pixels is None:
            assert self.slots is not None
            pixels = self.slots[task.slot]
        return Decoded(torch.from_numpy(pixels), decoder, sha256, damaged)

    def _take_back(self) -> None:
        if self.lent is not None:
            self.free.append(self.lent)
            self.lent = None

    def _finished(self, task: _Task) -> "Message":
        how = ""
        for _ in range(TRIES):
            if task.future is None and not self._schedule(task):
                self._restart()
                self._schedule(task)
            if not self._settled(task):
                self._restart()
                continue
            assert task.future is not None
            try:
                return task.future.result()
            except TimeoutError:
                return timed_out(task.record, self.decoding)
            except ProcessExpired as error:
                task.future, how = None, f" ({_exit_name(error.exitcode)})"
                if error.exitcode == SERVER_ENDED:
                    self._restart()
        return Failure(reason=f"decoding {task.record.path} crashed the worker{how}", retry=True)

    def _settled(self, task: _Task) -> bool:
        """Wait until the oldest clip is done (True) or the pool broke under it (False)."""
        start = idle_since = time.monotonic()
        while task.future is not None:
            if wait([task.future], timeout=POLL_SECONDS).done:
                return not _lost(task.future)
            if any(each.future is not None and each.future.running() for each in self.tasks):
                idle_since = time.monotonic()
            # Those before it were done in time, so it needs its own time and at most that of the one its worker had.
            late = time.monotonic() > start + 2 * self.decoding.timeout + STALLED_SECONDS
            if not self._pool.active or late or time.monotonic() > idle_since + STALLED_SECONDS:
                return False
        return False

    def _schedule(self, task: _Task) -> bool:
        """Hand the clip to the pool; False if that is broken already, and the clip then waits for its turn alone."""
        try:
            task.future = self._pool.schedule(work, args=(task.record, task.slot), timeout=self.decoding.timeout)
        except RuntimeError:
            return False
        return True

    def _start(self) -> None:
        initial = (self.decoding, self.slots)
        for left in reversed(range(STARTS)):
            self._pool = ProcessPool(
                self.decoding.workers, context=decoding_context(), initializer=start_worker, initargs=initial
            )
            try:
                self._pool.schedule(os.getpid).result()
            except (BrokenProcessPool, RuntimeError, ProcessExpired) as error:
                self._stop()
                if not left:
                    why = error.__cause__ or "their errors are above"
                    raise FeatureError(
                        f"the decoding processes die as they start ({why}): call tvts_bench below "
                        'if __name__ == "__main__": in a script, or decode in this process with --workers 0'
                    ) from error
            else:
                return

    def _stop(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _restart(self) -> None:
        """A new pool in new memory, and all clips in flight once more, each alone.

        Workers outlive their fork server for a moment, out of our sight: they may still write to the old memory.
        """
        self._stop()
        if self.slots is not None:
            self.slots.close()
        self.slots = self._new_slots()
        for task in self.tasks:
            task.future = None
        self._start()


def _lost(future: "Future[Message]") -> bool:
    """Whether a finished future tells of its pool's end rather than of its clip."""
    return future.cancelled() or isinstance(future.exception(), BrokenProcessPool)


def _exit_name(code: int) -> str:
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"
