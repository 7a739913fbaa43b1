"""What a check found so far: one JSON line a file, appended as it is done, so that nothing is read twice."""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tvts_bench.check.probe import Finding
from tvts_bench.check.problems import CheckError


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
            self.known = _read(path)
            self._file = path.open("ab", buffering=0)
            if self._file.tell() and not path.read_bytes().endswith(b"\n"):
                self._file.write(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            CheckError: the disk is full, or refuses for another reason.
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
            raise CheckError(
                f"cannot keep what the check finds in {self.path}: {error.strerror or error}; "
                "choose another place with --cache DIR"
            ) from error


def _read(path: Path) -> Mapping[str, Finding]:
    """The last finding of each path; lines that are not whole are left out."""
    known: dict[str, Finding] = {}
    if not path.exists():
        return known
    for line in path.read_bytes().split(b"\n"):
        try:
            finding = Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue
        known[finding.path] = finding
    return known
