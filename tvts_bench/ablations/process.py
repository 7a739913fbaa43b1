"""One command in a process of its own: started, watched, stopped, and its end put into words."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.results.grids import Failure
from tvts_bench.signals import STOPPING

DIVERGED = 3  # exit code of tvts-pretrain
GRACE = 60.0  # seconds that a command has to save its state, from the request to stop until it is killed
_LOOK = 0.1  # seconds between looks at a command
_TAIL = 64_000  # bytes at the end of a log that are searched for a reason
_MEMORY = re.compile(r"out of memory|MemoryError|can't allocate memory|Cannot allocate memory", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int  # negative: the signal that killed it
    seconds: float
    output: str  # the end of what it wrote
    stopped: bool = False  # by us, because a stop was requested
    late: bool = False  # by us, because its time was up


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends a command from outside."""

    until: float | None = None  # on the clock of time.monotonic()
    stop: Callable[[], bool] = lambda: False
    grace: float = GRACE


def run_command(
    command: Sequence[str], log: Path, limits: Limits, *, lock: int | None, environment: Mapping[str, str]
) -> Ended:
    """Run `command` until it ends, or is ended by `limits`, with what it says appended to `log`.

    It gets a process group of its own (Ctrl-C reaches it through us, and its workers end with it), and inherits the
    open file `lock`.

    Args:
        command: program and arguments.
        log: its output is appended to this file.
        limits: what ends it from outside.
        lock: number of an open file, for it to inherit.
        environment: on top of the process's own.

    Returns:
        How it ended.

    Raises:
        OSError: it cannot be started, or the log not written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
            env={**os.environ, **environment},
        )
    stopped = late = False
    try:
        while process.poll() is None and not (stopped or late):
            time.sleep(_LOOK)
            stopped = limits.stop()
            late = limits.until is not None and time.monotonic() > limits.until
    finally:  # also where a scheduler's signal has become an exception
        if process.poll() is None:
            _end(process, limits.grace)
        _signal(process, signal.SIGKILL)  # workers that a killed command has left behind
    seconds = time.monotonic() - started
    return Ended(code=process.returncode, seconds=seconds, output=_tail(log, begin), stopped=stopped, late=late)


def explain(ended: Ended) -> tuple[Failure, str]:
    """What kind of failure that was, and why, in one line: as a rule the last one that the command wrote."""
    lines = [line.strip() for line in ended.output.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if ended.late:
        return "time limit", f"its time was up after {ended.seconds:.0f} s"
    if ended.code == DIVERGED:
        return "diverged", last.removeprefix("training failed: ")
    if memory := [line for line in lines if _MEMORY.search(line)]:
        return "out of memory", memory[-1]
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        hint = ", as the system does where memory runs out" if -ended.code == signal.SIGKILL else ""
        return "killed", f"killed by {name}{hint}"
    return "error", last.removeprefix("error: ") or f"ended with exit code {ended.code} and said nothing"


def was_stopped(ended: Ended) -> bool:
    """Whether it was stopped and may resume: by us, or by a scheduler's or another user's signal."""
    return ended.stopped or any(ended.code in (-number, 128 + number) for number in STOPPING)


def _end(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """Ask it to stop; kill it if it does not within `grace` seconds."""
    process.terminate()  # the process alone: its workers end with it
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # nobody is left
    except PermissionError:
        return  # macOS says so of a group of zombies


def _tail(log: Path, begin: int) -> str:
    """The end of what was written from byte `begin` on."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _TAIL))
        return file.read().decode(errors="replace")
