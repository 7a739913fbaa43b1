"""One file, read from its first byte to its last frame, in a process that may be killed."""

import os
import stat
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pebble import CONSTS, ProcessExpired, ProcessPool

from tvts_bench import provenance
from tvts_bench.errors import UserError
from tvts_bench.processes import LOCK_SECONDS, SERVER_ENDED, STALLED_SECONDS, TRIES, worker_context
from tvts_bench.regular_file import is_transient
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import FileSignature
from tvts_bench.time_limit import run_with_timeout

Status = Literal["ok", "missing", "empty", "undecodable", "damaged", "timed out", "crashed"]
POLL_SECONDS = 0.5  # how soon a pool that broke is noticed
KEPT_FRAMES = 16  # frames held in memory; all before the last one are decoded and dropped


class WorkersEndedError(UserError):
    """Processes that cannot be started."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known of one file."""

    path: str
    size: int  # bytes
    mtime_ns: int
    status: Status
    ctime_ns: int = 0  # cannot be set, and so tells of equal size and mtime
    inode: int = 0
    detail: str = ""
    sha256: str = ""  # of the content; empty where there is none to compare
    frames: int = 0  # decoded
    timeout: float = 0.0  # seconds the file was given; 0 where time played no part
    transient: bool = False  # the system was at fault and not the file

    @property
    def signature(self) -> FileSignature:
        """What changes with the file, as it was before it was read."""
        return FileSignature(self.size, self.mtime_ns, self.ctime_ns, self.inode)


def look(path: Path) -> Finding:
    """What the file system alone knows: `missing`, `empty`, a folder (`undecodable`), or else `ok`."""
    try:
        status = path.stat()
    except OSError as error:
        detail = "" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        return Finding(path=str(path), size=0, mtime_ns=0, status="missing", detail=detail)
    seen: dict[str, Any] = {
        "path": str(path),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
    }
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        return Finding(**seen, status="undecodable", detail=kind)
    return Finding(**seen, status="ok" if status.st_size else "empty", detail="" if status.st_size else "0 bytes")


def probe(seen: Finding, decoder: str) -> Finding:
    """`seen` with the file's hash and whether it decodes to its last frame."""
    from tvts_bench.video.packet_index import VideoDecodeError
    from tvts_bench.video.reader import decode_frames

    path = Path(seen.path)
    try:
        seen = replace(seen, sha256=provenance.file_sha256(path))
        decoded = decode_frames(path, spread_to_the_end, decoder)
    except VideoDecodeError as error:
        detail = _without_path(str(error), path)
        return replace(seen, status="undecodable", detail=detail, transient=error.transient)
    except OSError as error:
        detail = error.strerror or str(error)
        return replace(seen, status="undecodable", detail=detail, transient=is_transient(error))
    if decoded.damaged:
        detail = f"readable, but {decoded.damaged:,} of {decoded.num_frames:,} frames are made up in part or lost"
        return replace(seen, status="damaged", frames=decoded.num_frames, detail=detail)
    return replace(seen, status="ok", frames=decoded.num_frames)


def spread_to_the_end(num_frames: int) -> NDArray[np.int64]:
    """Indices from the first frame to the last. Read in sequence, the last makes the decoder pass through them all."""
    return np.unique(np.linspace(0, num_frames - 1, KEPT_FRAMES).round().astype(np.int64))


def _without_path(message: str, path: Path) -> str:
    return message.removeprefix(f"cannot read {path}: ")


def probe_all(seen: Sequence[Finding], decoder: str, runtime: Runtime) -> Iterator[Finding]:
    """A finding for each file as it is done, in `runtime.workers` processes (0: in this one).

    A file is given `runtime.clip_timeout` seconds; a worker that takes longer is killed and replaced. One whose worker
    ends is tried again before the file is blamed.

    Raises:
        WorkersEndedError: workers end as soon as they are started.
    """
    if runtime.workers == 0:
        for finding in seen:
            try:
                yield run_with_timeout(runtime.clip_timeout, partial(probe, finding, decoder))
            except TimeoutError:
                yield _timed_out(finding, runtime.clip_timeout)
        return
    todo, ended = deque(seen), Counter[str]()
    in_vain = 0
    while todo:
        before = len(todo)
        yield from _probe_in_pool(todo, ended, decoder, runtime)
        in_vain = in_vain + 1 if len(todo) == before else 0
        if in_vain == TRIES:
            raise WorkersEndedError(
                "the reading processes end as they start: call tvts_bench below "
                'if __name__ == "__main__": in a script, or read in this process with --workers 0'
            )


def _probe_in_pool(todo: deque[Finding], ended: Counter[str], decoder: str, runtime: Runtime) -> Iterator[Finding]:
    """Findings of `todo` as long as the pool lasts; what it did not get done is in `todo` again.

    Args:
        todo: files to be read, taken from its left end.
        ended: how often the process that read a file ended, by path.
        decoder: name of the decoder.
        runtime: number of processes, and seconds a file.
    """
    waiting: dict[Future[Finding], Finding] = {}
    context = worker_context(("tvts_bench.video.reader",))
    pool = ProcessPool(max_workers=runtime.workers, context=context, initializer=_import_reader)
    try:
        pool.schedule(os.getpid).result()  # imports may take long the first time
        was_running, deadline = False, time.monotonic() + STALLED_SECONDS
        while (todo or waiting) and pool.active and time.monotonic() < deadline:
            # A few files ahead of the workers: enough to keep them busy, little to lose.
            while todo and len(waiting) < 4 * runtime.workers:
                waiting[pool.schedule(probe, args=[todo[0], decoder], timeout=runtime.clip_timeout)] = todo[0]
                todo.popleft()
            done = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done
            running = any(future.running() for future in waiting)
            if done or (running and not was_running):
                deadline = time.monotonic() + (2 * runtime.clip_timeout if running else 0) + STALLED_SECONDS
            was_running = running
            for future in done:
                finding, error = waiting.pop(future), future.exception()
                expired = isinstance(error, ProcessExpired)
                ended[finding.path] += expired
                if isinstance(error, BrokenProcessPool) or (expired and ended[finding.path] < TRIES):
                    todo.appendleft(finding)
                else:
                    yield _outcome(future, finding, runtime.clip_timeout)
                if isinstance(error, ProcessExpired) and error.exitcode == SERVER_ENDED:
                    return  # those of its workers that live on are out of the pool's sight
    except (BrokenProcessPool, ProcessExpired):
        return
    except RuntimeError:
        if pool.active:
            raise
    finally:
        todo.extendleft(waiting.values())
        pool.stop()
        pool.join()


def _import_reader() -> None:
    """Before the first file, so that its time is its own."""
    CONSTS.channel_lock_timeout = LOCK_SECONDS
    import tvts_bench.video.reader  # noqa: F401


def _outcome(future: Future[Finding], finding: Finding, timeout: float) -> Finding:
    try:
        return future.result()
    except TimeoutError:
        return _timed_out(finding, timeout)
    except ProcessExpired as error:
        return replace(finding, status="crashed", detail=f"the decoder ended its process (exit code {error.exitcode})")


def _timed_out(finding: Finding, timeout: float) -> Finding:
    detail = f"not read within {timeout:g} s"
    return replace(finding, status="timed out", detail=detail, timeout=timeout)
