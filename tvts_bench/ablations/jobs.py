"""A cell as a job: its commands one after the other, under its lock, with a record of how each ended.

The same code runs in a thread of the local launcher and in a job of Slurm. What is done is not done again; what was
interrupted resumes from its own state; what failed is recorded, and stays so until it is to be tried again.

The lock is one of the operating system (flock) on OUT/cells/KEY/claim, not a file that must be removed: it ends when
the last process that holds it does, so a crash leaves nothing stale, and no clock or process number of another machine
has to be trusted. The started command inherits it, so a command that outlives a runner which was killed still keeps
others from its folder. On NFS, Linux passes such locks to the server; where a file system has none, the cell is refused
rather than run twice.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from tvts_bench.ablations.commands import (
    GRACE,
    PROGRAM,
    RUN_STATUS,
    Ended,
    Limits,
    Stage,
    explain,
    run_command,
    was_stopped,
)
from tvts_bench.atomic import remove_leftovers
from tvts_bench.errors import UserError
from tvts_bench.results.files import rename_aside
from tvts_bench.results.grids import PRETRAIN, CellRecord, StageRecord, cell_folder, read_cell, write_cell

Outcome = Literal["done", "failed", "stopped", "taken"]
CLAIM = "claim"  # in the folder of a cell: locked by whoever runs it, and names that process
_PLACES = re.compile(r"^(samples|cache)=.*$")  # keys of tvts-pretrain that name folders and change no weight
_ATTEMPTS, _PAUSE = 5, 0.05  # to lock a cell: a look at who holds it takes it for a moment
_SET_ASIDE = re.compile(r"\.[0-9]+\.json$")  # an earlier result of the same run (see results.set_aside)


@dataclass(frozen=True, kw_only=True)
class CellJob:
    """All that a process on another machine needs to run a cell."""

    out: Path
    key: str
    config: Mapping[str, Any]
    seed: int
    stages: tuple[Stage, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # of the commands, on top of the process's own
    timeout: float | None = None  # seconds for all stages together
    grace: float = GRACE  # seconds that a command may take to save its state once a stop is requested
    failed_before: float | None = None  # stages that failed and were started before (seconds since 1970) run again
    outdated: Mapping[str, float | None] = field(default_factory=dict)
    # stages that are done and run again, since their data changed: name -> when they were started

    @property
    def folder(self) -> Path:
        """Where the cell lies."""
        return cell_folder(self.out, self.key)

    def stays_failed(self, record: StageRecord) -> bool:
        """Whether it failed and is not to be tried again. What another launcher has tried again meanwhile is not."""
        again = self.failed_before is not None and (record.started or 0.0) < self.failed_before
        return record.status == "failed" and not again


def never() -> bool:
    """Nobody asks to stop."""
    return False


@contextmanager
def cell_lock(folder: Path) -> Iterator[int | None]:
    """The open file, for commands to inherit, while the cell in `folder` is ours; None where it is another's.

    Raises:
        UserError: the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("a+", encoding="utf-8") as file:
        for attempt in range(_ATTEMPTS):
            time.sleep(_PAUSE * bool(attempt))
            if _try(file, fcntl.LOCK_EX):
                break
        else:
            yield None
            return
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}, file)
        file.flush()
        yield file.fileno()


def is_locked(folder: Path) -> bool:
    """Whether somebody runs the cell in `folder` now.

    Raises:
        UserError: the file system has no locks.
    """
    try:
        with (folder / CLAIM).open("rb") as file:
            return not _try(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _try(file: IO[Any], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{file.name} cannot be locked ({error.strerror}), and without locks a cell could run twice: give an --out"
            " on another file system"
        ) from error
    return True


def run_cell(job: CellJob, stop: Callable[[], bool] = never) -> Outcome:
    """Run what is left of a cell.

    Args:
        job: the cell.
        stop: asked often; once it says yes, the running command is told to save its state and end.

    Returns:
        "taken" where another process runs it, "stopped" where something is left to do, else how it ended.

    Raises:
        UserError, OSError: the record cannot be read or written.
    """
    with cell_lock(job.folder) as lock:
        if lock is None:
            return "taken"
        remove_leftovers(job.folder, alone=True)
        until = None if job.timeout is None else time.monotonic() + job.timeout
        limits = Limits(until=until, stop=stop, grace=job.grace)
        record = _begun(job)
        write_cell(job.out, record)
        for stage in job.stages:
            if not is_done(job, stage, record) and not job.stays_failed(record[stage.name]):
                if stop():
                    return "stopped"
                record = _run_stage(job, stage, record, limits, lock)
            if record[stage.name].status == "waiting":
                return "stopped"
            if record[stage.name].status == "failed" and stage.needed:
                break
        return outcome_now(job)


def is_finished(job: CellJob) -> bool:
    """Whether nothing is left to be run: every stage is done, or failed and not to be tried again."""
    return outcome_now(job) != "stopped"


def outcome_now(job: CellJob) -> Outcome:
    """The outcome of a cell as it is on disk: "stopped" where something of it is left to be run."""
    record = read_cell(job.out, job.key)
    if record is None:
        return "stopped"
    failed = False
    for stage in job.stages:
        known = record.stage(stage.name)
        if known is None or not (is_done(job, stage, record) or job.stays_failed(known)):
            return "stopped"
        failed = failed or known.status == "failed"
        if known.status == "failed" and stage.needed:
            break
    return "failed" if failed else "done"


def record_death(job: CellJob, reason: str) -> Outcome:
    """Record that the process which ran a cell is gone and left it unfinished; the cell's outcome then.

    A cell whose command had saved its state, because a stop was requested, has not failed.

    Raises:
        UserError, OSError: the record cannot be read or written.
    """
    with cell_lock(job.folder) as lock:
        if lock is None:
            return "taken"
        record = read_cell(job.out, job.key)
        running = next((stage for stage in record.stages if stage.status == "running"), None) if record else None
        record = _begun(job)
        left = running or next((stage for stage in record.stages if stage.status == "waiting"), None)
        if left is not None and (running or left.reason is None):
            started = running.started if running else time.time()
            dead = replace(left, status="failed", failure="killed", reason=reason, started=started)
            write_cell(job.out, _with(record, dead))
    return outcome_now(job)


def _begun(job: CellJob) -> CellRecord:
    """The cell's record, with stages that it did not have yet."""
    record = read_cell(job.out, job.key)
    if record is None:
        record = CellRecord(key=job.key, config=job.config, seed=job.seed, created=time.time())
    there = {stage.name for stage in record.stages}
    new = [
        StageRecord(name=stage.name, protocol=stage.protocol, dataset=stage.dataset)
        for stage in job.stages
        if stage.name not in there
    ]
    # Whoever was running a stage does no more: the lock is ours.
    known = (replace(stage, status="waiting") if stage.status == "running" else stage for stage in record.stages)
    return replace(record, stages=(*known, *new))


def is_done(job: CellJob, stage: Stage, record: CellRecord) -> bool:
    """Whether a stage has run and what it left is there.

    A checkpoint may be gone, to save space: it is missed where something is left to be measured.

    Args:
        job: the cell.
        stage: one of its.
        record: of the cell.

    Returns:
        False also where its data changed since.
    """
    known = record.stage(stage.name)
    if known is None or known.status != "done" or _is_outdated(job, known):
        return False
    if _produced(job.folder, stage):
        return True
    others = [other for other in job.stages if other.name != stage.name]
    return stage.needed and bool(others) and all(is_done(job, other, record) for other in others)


def has_checkpoint(job: CellJob) -> bool:
    """Whether evaluations can run without training anything; not so where checkpoints were deleted."""
    return all(_produced(job.folder, stage) for stage in job.stages if stage.needed)


def _is_outdated(job: CellJob, stage: StageRecord) -> bool:
    """Whether it is to run again; what was run again meanwhile, by this launcher or another, is not."""
    return stage.name in job.outdated and job.outdated[stage.name] == stage.started


def _run_stage(job: CellJob, stage: Stage, record: CellRecord, limits: Limits, lock: int) -> CellRecord:
    """Run one command; the record with how it ended, written."""
    before = record[stage.name]
    if _is_outdated(job, before):
        for path in (job.folder / name for name in before.results):
            if path.is_file():
                rename_aside(path)
    command = _prepared(job.folder, stage)
    typed = as_typed(command, job.folder)
    running = replace(before, status="running", command=typed, started=time.time(), failure=None, reason=None)
    write_cell(job.out, _with(record, running))
    log = job.folder / "logs" / f"{stage.name}.log"
    try:
        ended = run_command(command, log, limits, lock=lock, environment=job.environment)
    except OSError as error:
        failed = replace(running, status="failed", failure="error", reason=f"cannot be started: {error}")
        record = _with(record, failed)
    else:
        record = _with(record, _judged(job, stage, running, ended))
    write_cell(job.out, record)
    return record


def as_typed(command: Sequence[str], folder: Path) -> tuple[str, ...]:
    """A command as one would type it in the cell's folder: a record that names no place of this machine."""
    names = {"pretrain": "tvts-pretrain", "tvts_bench": "tvts-bench"}
    if tuple(command[: len(PROGRAM)]) == PROGRAM and command[len(PROGRAM)] in names:
        command = (names[command[len(PROGRAM)]], *command[len(PROGRAM) + 1 :])
    return tuple(_PLACES.sub(r"\1=DIR", part.replace(f"{folder.absolute()}/", "")) for part in command)


def _prepared(folder: Path, stage: Stage) -> tuple[str, ...]:
    """The command to run now; what is left of an attempt that saved no state is removed."""
    if stage.state is not None and (folder / stage.state).is_file():
        return stage.resumed
    if stage.discard is not None and (folder / stage.discard).is_dir():
        shutil.rmtree(folder / stage.discard)
    return stage.command


def _judged(job: CellJob, stage: Stage, running: StageRecord, ended: Ended) -> StageRecord:
    """How a stage ended."""
    judged = replace(running, seconds=running.seconds + ended.seconds)
    produced = _produced(job.folder, stage)
    if ended.code == 0 and produced:
        results = tuple(name for name in produced if name.endswith(".json") and not _SET_ASIDE.search(name))
        remark = _not_learned(job.folder) if stage.protocol == PRETRAIN else None
        return replace(judged, status="done", results=results, reason=remark)
    if ended.code == 0:
        return replace(judged, status="failed", failure="error", reason=f"ended well but left no {stage.produces}")
    if was_stopped(ended) and not ended.late:
        return replace(judged, status="waiting", reason="stopped; resumes from its last state")
    failure, reason = explain(ended)
    return replace(judged, status="failed", failure=failure, reason=reason)


def _not_learned(folder: Path) -> str | None:
    """What the pretraining of a cell says of sorting that it has not learned."""
    try:
        remark = json.loads((folder / RUN_STATUS).read_bytes()).get("not_learned")
    except (OSError, ValueError, AttributeError):
        return None
    return remark if isinstance(remark, str) else None


def _produced(folder: Path, stage: Stage) -> list[str]:
    """The files that a stage has left, relative to the cell's folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob(stage.produces))


def _with(record: CellRecord, changed: StageRecord) -> CellRecord:
    return replace(record, stages=tuple(changed if each.name == changed.name else each for each in record.stages))
