"""One file, read from its first byte to its last frame, in a process that may be killed."""

import multiprocessing
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from tvts_bench import provenance
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import FileSignature

Status = Literal["ok", "missing", "empty", "undecodable", "damaged", "timed out", "crashed"]
KEPT_FRAMES = 16  # frames held in memory; all before the last one are decoded and dropped


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
    from tvts_bench.video.container import is_transient
    from tvts_bench.video.reader import VideoDecodeError, decode_frames

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
    """A finding for each file as it is done, in `runtime.workers` processes.

    A worker that spends more than `runtime.clip_timeout` seconds on a file is killed and replaced; with 0 workers
    files are read in this process, without a limit.
    """
    if runtime.workers == 0:
        yield from (probe(finding, decoder) for finding in seen)
        return
    queue = iter(seen)
    waiting: dict[Future[Finding], Finding] = {}
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPool(max_workers=runtime.workers, context=context, initializer=_import_reader)
    try:
        while True:
            # A few files ahead of the workers: enough to keep them busy, little to lose.
            for finding in islice(queue, 4 * runtime.workers - len(waiting)):
                waiting[pool.schedule(probe, args=[finding, decoder], timeout=runtime.clip_timeout)] = finding
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield _outcome(future, waiting.pop(future), runtime.clip_timeout)
    finally:
        pool.stop()
        pool.join()


def _import_reader() -> None:
    """Before the first file, so that its time is its own."""
    import tvts_bench.video.reader  # noqa: F401


def _outcome(future: Future[Finding], finding: Finding, timeout: float) -> Finding:
    try:
        return future.result()
    except TimeoutError:
        return replace(finding, status="timed out", detail=f"not read within {timeout:g} s", timeout=timeout)
    except ProcessExpired as error:
        return replace(finding, status="crashed", detail=f"the decoder ended its process (exit code {error.exitcode})")
