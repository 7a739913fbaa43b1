"""What a check found so far: one JSON line a file, appended as it is done, so that nothing is read twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tvts_bench.check.probe import Finding


class Journal:
    """Findings on disk, keyed by path, size and time of change.

    A line is written with one call and a process that dies leaves at most its last line half written; that line is
    ignored. A changed file counts as new, a file that timed out is read again when it is given more time, and one that
    crashed its process always is.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        self.known = _read(path)
        self._file = path.open("ab")
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
        if known is None or (known.size, known.mtime_ns) != (seen.size, seen.mtime_ns):
            return None
        if known.status == "crashed" or (known.status == "timed out" and known.timeout < timeout):
            return None
        return known

    def add(self, finding: Finding) -> None:
        """Write a finding down, at once."""
        self._file.write(json.dumps(asdict(finding)).encode() + b"\n")
        self._file.flush()


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
