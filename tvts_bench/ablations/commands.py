"""The commands of a cell: as data, and run in processes of their own.

Each says how it is started and resumed, and what it must leave behind. What `tvts-pretrain` makes of settings is its
own to say: it is run for that, since nothing here imports it.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvts_bench.errors import UserError
from tvts_bench.provenance import digest
from tvts_bench.results.grids import PRETRAIN, Failure
from tvts_bench.signals import STOPPING

RUN, BACKBONE, STATE = "run", "run/backbone.safetensors", "run/checkpoints/last.pt"
RUN_STATUS = "run/status.json"
PROGRAM = (sys.executable, "-P", "-m")  # -P: not a `pretrain.py` of the user in the current folder
ERROR = "error: "  # what every error in one sentence begins with
DIVERGED = 3  # exit code of tvts-pretrain
GRACE = 60.0  # seconds that a command has to save its state, from the request to stop until it is killed
_LOOK = 0.1  # seconds between looks at a command
_TAIL = 64_000  # bytes at the end of a log that are searched for a reason
_MEMORY = re.compile(r"out of memory|MemoryError|can't allocate memory|Cannot allocate memory", re.IGNORECASE)

logger = logging.getLogger(__name__)


class PretrainingError(UserError):
    """Settings that `tvts-pretrain` refuses; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command of a cell. Paths are relative to the cell's folder."""

    name: str
    protocol: str
    command: tuple[str, ...]
    produces: str  # pattern of the files that it must leave; while there are none it has not been run
    dataset: str | None = None
    needed: bool = False  # where it fails, the stages after it are not tried
    resumed: tuple[str, ...] = ()  # the command that resumes, once there is `state`
    state: str | None = None
    discard: str | None = None  # a folder that an attempt which left no `state` has made, to be removed


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """One evaluation of every cell of a grid."""

    protocol: str  # a command of tvts-bench
    dataset: str  # as the grid names it
    root: str | None  # its folder; None: the built-in synthetic set's
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique to what is measured: with other options, or on other data, it is another stage."""
        return f"{self.protocol}-{self.dataset}-{digest([self.root, list(self.options)])[:8]}"


def pretraining(folder: Path, preset: str, assignments: Sequence[str], resources: Sequence[str]) -> Stage:
    """`tvts-pretrain run`, or `resume` where it was stopped.

    Args:
        folder: of the cell.
        preset: of tvts-pretrain, or a YAML file.
        assignments: `key=value`, all that differs from the preset.
        resources: `key=value`, where it runs: device, threads, workers.

    Returns:
        The stage that leaves the checkpoint.
    """
    program, run = (*PROGRAM, "pretrain"), str(folder / RUN)
    return Stage(
        name=PRETRAIN,
        protocol=PRETRAIN,
        command=(*program, "run", preset, *assignments, *resources, f"out={run}"),
        resumed=(*program, "resume", run, *resources),
        state=STATE,
        discard=RUN,
        produces=BACKBONE,
        needed=True,
    )


def evaluation(
    folder: Path, spec: EvaluationSpec, backbone: Sequence[str], seed: int, resources: Sequence[str]
) -> Stage:
    """A command of tvts-bench on the checkpoint of the cell, or on the `backbone` that its options name.

    Args:
        folder: of the cell.
        spec: what is measured.
        backbone: options that say which backbone.
        seed: of whatever the protocol draws.
        resources: options that say where it runs.

    Returns:
        The stage that leaves the results.
    """
    synthetic = ("--dataset", f"scripted_motion:{spec.dataset}")
    data = synthetic if spec.root is None else ("--dataset", spec.dataset, "--root", spec.root)
    options = {
        "retrieval": _gallery(spec.dataset),
        "probe": ("--seed", str(seed)),
        "finetune": ("--seed", str(seed), "--resume"),
    }[spec.protocol]
    results = f"results/{spec.name}"
    program = (*PROGRAM, "tvts_bench", spec.protocol)
    return Stage(
        name=spec.name,
        protocol=spec.protocol,
        dataset=spec.dataset,
        command=(*program, *backbone, *data, *options, *spec.options, *resources, "--out", str(folder / results)),
        produces=f"{results}/*.json",
    )


def _gallery(dataset: str) -> tuple[str, ...]:
    """Test clips query training clips where a test set holds near-duplicates of itself."""
    return ("--split", "test", "--gallery-split", "train") if dataset in ("ucf101", "hmdb51") else ()


def resolve(preset: str, assignments: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The whole configuration for each list of `key=value` assignments on top of `preset`, as plain values.

    Raises:
        PretrainingError: no such preset or key, or a value that does not fit; or tvts-pretrain does not start.
    """
    text = json.dumps([list(one) for one in assignments])
    return list(json.loads(_query(["config", preset, "--each", "-", "--json"], text)))


def changed_files(runs: Sequence[Path]) -> dict[Path, list[str]]:
    """Of each run's folder, the samples whose files changed since it began.

    Raises:
        PretrainingError: the sources of one cannot be read any more; or tvts-pretrain does not start.
    """
    changed = json.loads(_query(["changed", *map(str, runs)])) if runs else {}
    return {Path(folder): list(names) for folder, names in changed.items()}


def start_file(seed: int, cache: str | None, *, make: bool = True) -> Path:
    """The common start of that seed, made in `cache` (the user's if None) where it is not there: a minute, once.

    Args:
        seed: Of the start.
        cache: Where common starts lie.
        make: False: only where it would lie.

    Raises:
        PretrainingError: it cannot be made.
    """
    arguments = ["start", "--seed", str(seed), *([] if cache is None else ["--cache", cache])]
    path = Path(_query([*arguments, "--dry-run"]).strip().splitlines()[-1])
    if make and not path.is_file():
        logger.warning("making the common start of seed %d in %s: about a minute, once", seed, path)
        _query(arguments)
    return path


def _query(arguments: Sequence[str], text: str = "") -> str:
    """What a command of tvts-pretrain prints."""
    command = [*PROGRAM, "pretrain", *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return ended.stdout
    written = ended.stderr.strip()
    if ERROR in written:
        raise PretrainingError(written.rpartition(ERROR)[2])
    last = written.splitlines()[-1:] or [f"exit code {ended.returncode}"]
    raise PretrainingError(f"tvts-pretrain does not start: {last[0]}")


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
        with suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says the second of zombies
            os.killpg(process.pid, signal.SIGKILL)  # workers that a killed command has left behind
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
    return "error", last.removeprefix(ERROR) or f"ended with exit code {ended.code} and said nothing"


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


def _tail(log: Path, begin: int) -> str:
    """The end of what was written from byte `begin` on."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _TAIL))
        return file.read().decode(errors="replace")
