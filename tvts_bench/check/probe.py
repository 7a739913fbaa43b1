"""Findings: one file, read from its first byte to its last frame in a process that may be killed; kept in a journal."""

import errno
import itertools
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from tvts_bench import provenance
from tvts_bench.errors import UserError
from tvts_bench.processes import Unanswered, WorkerPool, run_with_timeout
from tvts_bench.regular_file import is_transient
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
    seen = Finding(
        path=str(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        status="ok",
    )
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        return replace(seen, status="undecodable", detail=kind)
    return seen if status.st_size else replace(seen, status="empty", detail="0 bytes")


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
    """A finding for each file as it is done.

    A file is given `runtime.clip_timeout` seconds; a worker that takes longer is killed and replaced. One whose worker
    ends is tried again before the file is blamed.

    Args:
        seen: The files, as `look` found them.
        decoder: Name of the decoder.
        runtime: Number of processes (0: this one), and seconds per file.

    Raises:
        UserError: Workers end as soon as they are started.
    """
    limit = runtime.clip_timeout
    if runtime.workers == 0:
        for finding in seen:
            try:
                yield run_with_timeout(limit, partial(probe, finding, decoder))
            except TimeoutError:
                yield _without_answer(finding, Unanswered(timed_out=True), limit)
        return
    reader = ("tvts_bench.video.reader",)
    with WorkerPool(partial(probe, decoder=decoder), workers=runtime.workers, timeout=limit, preload=reader) as pool:
        queue = iter(seen)
        while True:
            # A few files ahead of the workers: enough to keep them busy, little to lose.
            for finding in itertools.islice(queue, 4 * runtime.workers - len(pool)):
                pool.submit(finding)
            if not len(pool):
                return
            finding, answer = pool.next_answer()
            yield _without_answer(finding, answer, limit) if isinstance(answer, Unanswered) else answer


def _without_answer(finding: Finding, why: Unanswered, limit: float) -> Finding:
    if why.timed_out:
        return replace(finding, status="timed out", detail=f"not read within {limit:g} s", timeout=limit)
    return replace(finding, status="crashed", detail=f"the decoder ended its process (exit code {why.exit_code})")


class Journal:
    """Findings on disk, keyed by path and signature (size, times of change, inode).

    A line is written with one call and a process that dies leaves at most its last line half written; that line is
    ignored. A changed file counts as new, as do all of a journal that knew size and mtime only. A file that timed out
    is read again when it is given more time; one that crashed its process, or failed for the moment, always is.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path = path
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            if fresh:
                path.unlink(missing_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._file.seek(0)
            lines = self._file.read().split(b"\n")
            if lines[-1]:
                self._file.write(b"\n")
        self.known: dict[str, Finding] = {}  # the last of each path
        for line in lines:
            with suppress(ValueError, TypeError):  # a line that is not whole
                finding = Finding(**json.loads(line))
                self.known[finding.path] = finding

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def recall(self, seen: Finding, timeout: float) -> Finding | None:
        """The finding for a file that has not changed, or None if it must be read (again)."""
        known = self.known.get(seen.path)
        if known is None or known.signature != seen.signature:
            return None
        if known.transient or known.status == "crashed" or (known.status == "timed out" and known.timeout < timeout):
            return None
        return known

    def add(self, finding: Finding) -> None:
        """Write a finding down, at once.

        Raises:
            UserError: The disk is full, or refuses for another reason.
        """
        line = json.dumps(asdict(finding)).encode() + b"\n"
        with self._writing():
            if self._file.write(line) < len(line):  # what an almost full disk does
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot keep what the check finds in {self.path}: {error.strerror or error}; "
                "choose another place with --cache DIR"
            ) from error
