"""Work that may hang or crash: in a pool of processes that outlives it, or in a thread with a time limit."""

import importlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection, util
from multiprocessing.context import BaseContext
from typing import Generic, Self, TypeVar

from pebble import CONSTS, ProcessExpired, ProcessPool

from tvts_bench.errors import UserError

SOCKET_PATH = 103  # bytes at most, where systems allow the least
LONGEST_FOLDER = SOCKET_PATH - len("/pymp-12345678/listener-12345678")  # what multiprocessing makes in $TMPDIR
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")

CLIP_DECODING = ("tvts_bench.features.decoding",)  # what processes that decode clips have imported

SERVER_ENDED = 255  # what multiprocessing takes for the exit code of a process whose fork server is gone, dead or not
TRIES = 3  # of work whose process ends: most end from outside (memory, an operator), so it need not be the work
STARTS = 2  # of a pool: what ends it as it starts may be from outside, too
# A worker that is killed while it holds the lock of a pool's pipe (for microseconds, since messages are short) takes it
# along. The others then give up after this time, and a new pool takes over.
LOCK_SECONDS = 5.0
STALLED_SECONDS = 15.0  # a pool that does nothing for so long beyond the time limits lost a message: it is replaced
POLL_SECONDS = 0.5  # how soon a pool that broke is noticed

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def worker_context(preload: Sequence[str]) -> BaseContext:
    """Processes are forked from a server that imports `preload` once and never has a thread or an open video.

    Forking this process instead would copy the locks of its threads (torch, CUDA, decord) in whatever state they are.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    _shorten_socket_paths()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def warm_up() -> None:
    """Start the server of decoding processes and its imports in the background, to overlap with loading a backbone.

    Takes milliseconds; extraction does it itself where it was not called.
    """
    if worker_context(CLIP_DECODING).get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()


@cache
def _shorten_socket_paths() -> None:
    """Have this process and its workers meet in a short folder where $TMPDIR is too long for the path of a socket."""
    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER:
        return
    before = tempfile.tempdir
    tempfile.tempdir = next((each for each in SHORT_FOLDERS if os.access(each, os.W_OK | os.X_OK)), before)
    try:
        util.get_temp_dir()  # multiprocessing makes its folder once, tells its children, and removes it at the end
    finally:
        tempfile.tempdir = before


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """Why there is no answer for an item: it took too long, or the process that worked on it ended each time."""

    timed_out: bool = False
    exit_code: int | None = None  # None: the pool ended under it


@dataclass(eq=False)
class _Task(Generic[Item]):
    item: Item
    tries: int = 0  # that ended without an answer


class WorkerPool(Generic[Item, Answer]):
    """Worker processes, and the items they work on. What happens to a worker costs that worker, not the run."""

    def __init__(
        self,
        work: Callable[[Item], Answer],
        *,
        workers: int,
        timeout: float,
        preload: Sequence[str] = (),
        setup: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        """Start the processes.

        Args:
            work: Called with one item in one of them.
            workers: Processes.
            timeout: Seconds that one item may take; then its worker is killed and replaced.
            preload: Modules that they have imported from the start.
            setup: Makes what is called in each of them first; anew for a pool that replaces one, whose workers outlive
                their fork server for a moment, out of our sight, and may still write to memory that they share.

        Raises:
            UserError: They end as they start.
        """
        self._work, self._workers, self._timeout, self._preload, self._setup = work, workers, timeout, preload, setup
        self._queue: deque[_Task[Item]] = deque()
        self._scheduled: dict[Future[Answer], _Task[Item]] = {}
        self._answers: deque[tuple[Item, Answer | Unanswered]] = deque()
        self._is_broken = False
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def __len__(self) -> int:
        """Items without an answer that was given out."""
        return len(self._queue) + len(self._scheduled) + len(self._answers)

    def submit(self, item: Item) -> None:
        """Have an item worked on."""
        self._queue.append(_Task(item))

    def next_answer(self) -> tuple[Item, Answer | Unanswered]:
        """One of the items that were submitted, whichever is done first, and what came of it.

        Raises:
            UserError: The pool broke, and its processes end as they start again.
            Exception: What `work` raised.
        """
        deadline, was_running = time.monotonic() + self._timeout + STALLED_SECONDS, False
        while not self._answers:
            if self._is_broken:  # and all that was answered before is given out: it may lie in memory of that pool
                self._restart()
                deadline = time.monotonic() + self._timeout + STALLED_SECONDS
            intact, done = self._schedule(), wait(self._scheduled, POLL_SECONDS, FIRST_COMPLETED).done
            is_running = any(future.running() for future in self._scheduled)
            if done or (is_running and not was_running):
                deadline = time.monotonic() + (2 * self._timeout if is_running else 0) + STALLED_SECONDS
            was_running = is_running
            for future in done:
                intact &= self._collect(future)
            self._is_broken = not (intact and self._pool.active and time.monotonic() < deadline)
        return self._answers.popleft()

    def _schedule(self) -> bool:
        """Hand the queue to the pool; False if that is broken."""
        try:
            while self._queue:
                future = self._pool.schedule(self._work, args=(self._queue[0].item,), timeout=self._timeout)
                self._scheduled[future] = self._queue.popleft()
        except RuntimeError:
            return False
        return True

    def _collect(self, future: "Future[Answer]") -> bool:
        """Take what came of a task; False if that is the end of the pool."""
        task = self._scheduled.pop(future)
        error = BrokenProcessPool() if future.cancelled() else future.exception()
        if isinstance(error, BrokenProcessPool):
            self._try_again(task)
            return False
        if isinstance(error, ProcessExpired):
            self._try_again(task, error.exitcode)
            return bool(error.exitcode != SERVER_ENDED)
        self._answers.append(
            (task.item, Unanswered(timed_out=True) if isinstance(error, TimeoutError) else future.result())
        )
        return True

    def _try_again(self, task: _Task[Item], exit_code: int | None = None) -> None:
        task.tries += 1
        if task.tries < TRIES:
            self._queue.appendleft(task)
        else:
            self._answers.append((task.item, Unanswered(exit_code=exit_code)))

    def _restart(self) -> None:
        """A new pool, and all that was in flight once more."""
        self._stop()
        for task in self._scheduled.values():
            self._try_again(task)
        self._scheduled.clear()
        self._start()

    def _start(self) -> None:
        for left in reversed(range(STARTS)):
            self._pool = ProcessPool(
                self._workers,
                context=worker_context(self._preload),
                initializer=_start_worker,
                initargs=(self._preload, self._setup and self._setup()),
            )
            try:
                self._pool.schedule(os.getpid).result()  # imports may take long the first time
            except (RuntimeError, ProcessExpired) as error:
                self._stop()
                if not left:
                    why = error.__cause__ or "their errors are above"
                    raise UserError(
                        f"the worker processes die as they start ({why}): call tvts_bench below "
                        'if __name__ == "__main__": in a script, or work in this process with --workers 0'
                    ) from error
            else:
                return

    def _stop(self) -> None:
        self._pool.stop()
        self._pool.join()


def _start_worker(preload: Sequence[str], first: Callable[[], None] | None) -> None:
    """Make this process a worker of the one that started it."""
    CONSTS.channel_lock_timeout = LOCK_SECONDS
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of Python's own would wait for C code to return
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for name in preload:  # here, where no server has them: not in the time of the first item
        importlib.import_module(name)
    if first is not None:
        first()


def _die_with_parent() -> None:
    """A worker busy with a file that hangs would never notice that it is alone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def run_with_timeout(seconds: float, work: Callable[[], Answer]) -> Answer:
    """What `work` returns or raises, if that takes at most `seconds`; it runs in a thread of its own.

    Work that takes longer is left behind, since a thread in C code cannot be stopped, and ends with the process.

    Raises:
        TimeoutError: It takes longer.
    """
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(min(seconds, threading.TIMEOUT_MAX))
