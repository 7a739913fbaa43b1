"""The list of usable samples of a source, checked before training and kept in a cache.

Checking reads every transcript and every video's header once; what fails is left out, counted and listed with its
reason. An index lives in two files, written atomically: `KEY.arrow`, memory-mapped so that millions of samples cost no
memory in the loading processes, and `KEY.json`, the report. The key changes with any file's signature; where a file
could not be read for reasons that pass, the index is made anew the next time.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from tvts_bench.atomic import whole_file
from tvts_bench.errors import UserError
from tvts_bench.processes import worker_context
from tvts_bench.regular_file import is_transient
from tvts_bench.runtime import Progress, silent

VERSION = 2
"""Raised by every change of what is checked, or of the words that are read."""

_SCHEMA = pa.schema(  # names of files are bytes: they need not be UTF-8
    [("id", pa.binary()), ("path", pa.binary()), ("transcript", pa.binary()), ("caption", pa.string()),
     ("duration", pa.float64())]
)  # fmt: skip
_NAMES = ("id", "path", "transcript")
_FLAWS = 3  # of one file, listed in the report
_CHUNK = 32  # samples handed to a checking process at a time

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One sample's files and what is known of them. A narrated video has a transcript, a captioned one a caption."""

    id: str
    path: Path
    transcript: Path | None = None
    caption: str = ""
    duration: float = 0.0  # seconds; 0 where unknown or an image


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The outcome of checking one entry."""

    id: str
    entry: Entry | None  # None: left out
    reason: str = ""  # why it was left out; its kind is the part before the first colon
    unreadable: bool = False  # a file that is missing or damaged, not merely of no use
    transient: bool = False  # unreadable for no fault of the file's: another try may succeed
    events: Mapping[str, int] | None = None  # what was counted while reading it
    flaws: Sequence[str] = ()  # parts of the transcript that cannot be used, one sentence each


def unreadable(entry: Entry, kind: str, error: Exception) -> Checked:
    """An entry left out because it cannot be read.

    Args:
        entry: of the list.
        kind: what its reason is listed under.
        error: the reason.
    """
    reason = f"{kind}: {error}"
    return Checked(id=entry.id, entry=None, reason=reason, unreadable=True, transient=is_transient(error))


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of checking a source."""

    listed: int
    used: int
    excluded: dict[str, str]  # id -> reason
    counts: dict[str, int]  # kind of reason, or of flaw -> how many
    flaws: dict[str, list[str]] = field(default_factory=dict)  # id -> unusable parts of its transcript, the first ones
    transient: list[str] = field(default_factory=list)  # ids left out for reasons that pass


class Index:
    """The usable samples of a source, in a stable order. Cheap to send to another process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def _table(self) -> Any:
        with pa.memory_map(str(self.path)) as file:
            return pa.ipc.open_file(file).read_all()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> Entry:
        row = {name: self._table.column(name)[number].as_py() for name in _SCHEMA.names}
        row |= {name: os.fsdecode(row[name]) for name in _NAMES}
        transcript = Path(row["transcript"]) if row["transcript"] else None
        return Entry(**{**row, "path": Path(row["path"]), "transcript": transcript})

    @property
    def report(self) -> Report:
        """The outcome of the check when it was made."""
        return Report(**json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8")))


def build_index(
    candidates: Sequence[Entry],
    check: Callable[[Entry], Checked],
    path: Path,
    *,
    max_unreadable: float,
    workers: int = 0,
    progress: Progress = silent,
) -> Index:
    """The index at `path`, made by `check`ing all `candidates` if it is not there yet.

    Args:
        candidates: what the source lists.
        check: picklable if `workers` is not 0.
        path: `.../KEY.arrow`; the report goes beside it.
        max_unreadable: share (0..1) of unreadable files above which this is an error.
        workers: checking processes; 0 checks in this one.
        progress: shows the check.

    Raises:
        UserError: nothing usable, or too many unreadable files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # of several processes one checks, the others wait for it
        if not _is_complete(path):
            _check_all(candidates, check, path, workers, progress)
    return _accepted(Index(path), max_unreadable)


def _is_complete(path: Path) -> bool:
    """Whether the index is there, and nothing was left out of it that could be read now."""
    return path.is_file() and path.with_suffix(".json").is_file() and not Index(path).report.transient


def _check_all(
    candidates: Sequence[Entry], check: Callable[[Entry], Checked], path: Path, workers: int, progress: Progress
) -> None:
    usable: list[Entry] = []
    report = Report(listed=len(candidates), used=0, excluded={}, counts={})
    counts: Counter[str] = Counter()
    with progress(len(candidates), "samples", f"checking {path.stem.split('-')[0]}") as advance:
        for checked in _checks(candidates, check, workers):
            counts.update(checked.events or {})
            if checked.transient:
                report.transient.append(checked.id)
            if checked.flaws:
                more = len(checked.flaws) - _FLAWS
                report.flaws[checked.id] = [*checked.flaws[:_FLAWS], *([f"and {more:,} more"] if more > 0 else [])]
            if checked.entry is not None:
                usable.append(checked.entry)
            else:
                report.excluded[checked.id] = checked.reason
                counts.update([checked.reason.split(":")[0], *(["unreadable"] if checked.unreadable else [])])
            advance(1)
    report = replace(report, used=len(usable), counts=dict(counts))
    with whole_file(path) as file:
        file.write(_table_bytes(usable))
    with whole_file(path.with_suffix(".json")) as file:
        file.write(json.dumps(asdict(report), indent=1).encode())


def _accepted(index: Index, max_unreadable: float) -> Index:
    report = index.report
    listing = f"all reasons are in {index.path.with_suffix('.json')}"
    examples = "; ".join(list(report.excluded.values())[:3])
    if not report.used:
        raise UserError(f"none of the {report.listed:,} samples listed can be used: {examples}; {listing}")
    unreadable = report.counts.get("unreadable", 0)
    if unreadable > max_unreadable * report.listed:
        raise UserError(
            f"{unreadable:,} of {report.listed:,} files cannot be read, more than the share {max_unreadable:g}: "
            f"{examples}; {listing}; go on without them with data.sources.NUMBER.max_unreadable=SHARE"
        )
    if report.excluded or report.counts:
        kinds = [f"{name} {count:,}" for name, count in sorted(report.counts.items()) if name != "unreadable"]
        logger.warning("%s of %s samples can be used (%s); %s", report.used, report.listed, ", ".join(kinds), listing)
    return index


def _checks(candidates: Sequence[Entry], check: Callable[[Entry], Checked], workers: int) -> Iterator[Checked]:
    if workers < 2 or len(candidates) <= _CHUNK:
        yield from map(check, candidates)
        return
    with ProcessPoolExecutor(workers, mp_context=worker_context(("pretrain.data.index",))) as pool:
        yield from pool.map(check, candidates, chunksize=_CHUNK)


def _table_bytes(entries: Iterable[Entry]) -> bytes:
    rows = [
        {**asdict(entry), **{name: os.fsencode(getattr(entry, name) or "") for name in _NAMES}} for entry in entries
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    return bytes(sink.getvalue().to_pybytes())
