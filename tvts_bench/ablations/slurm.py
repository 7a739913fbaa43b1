"""Cells as jobs of a Slurm cluster, through submitit: one array per grid, and in each job the code that runs here.

A job that Slurm ends early (preemption, time limit) is put back into the queue and resumes from its last saved state.
`--out` must be on a file system that all nodes share.
"""

import getpass
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tvts_bench.ablations.jobs import CellJob, Outcome, outcome_now, record_death, run_cell
from tvts_bench.ablations.local import thread_environment
from tvts_bench.errors import UserError

Cluster = Literal["slurm", "local"]
_LOOK = 2.0  # seconds between questions to the scheduler
_MISSED = 3  # times that neither the queue nor the disk knows of a job before it counts as dead
_SAVE = 90  # seconds before its time limit at which a job is told to save and go back into the queue
_TOLD = 60.0  # seconds between a scheduler's first signal and its last, at most
_GRACE = 60.0  # of _SAVE, for the command to save its state


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What a job asks the cluster for."""

    partition: str | None = None
    minutes: int = 720  # time limit of a job; what is not finished by then goes back into the queue
    cpus: int = 4
    gpus: int = 0
    memory: str | None = None  # as sbatch takes it: "32G"
    constraint: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # further options of sbatch: account, qos, ...
    at_once: int | None = None  # jobs that may run at the same time

    def parameters(self) -> dict[str, Any]:
        """As submitit names them."""
        named = {"partition": self.partition, "mem": self.memory, "constraint": self.constraint}
        given: dict[str, Any] = {f"slurm_{name}": value for name, value in named.items() if value is not None}
        if self.more:
            given["slurm_additional_parameters"] = dict(self.more)
        if self.gpus:
            given["gpus_per_node"] = self.gpus
        return {
            **given,
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            "slurm_array_parallelism": self.at_once or 256,
            "slurm_signal_delay_s": _SAVE,
        }


def slurm_options(given: Mapping[str, str], at_once: int | None = None) -> SlurmOptions:
    """Options by the names of the command line: partition, time, cpus, gpus, mem, constraint; others are sbatch's.

    Raises:
        UserError: a number that is none.
    """
    numbers = {"time": "minutes", "cpus": "cpus", "gpus": "gpus"}
    texts = {"partition": "partition", "mem": "memory", "constraint": "constraint"}
    for name in numbers.keys() & given.keys():
        if not given[name].isdecimal() or (name != "gpus" and int(given[name]) == 0):
            raise UserError(f"--slurm {name}={given[name]}: must be a whole number{' of minutes' * (name == 'time')}")
    fields: dict[str, Any] = {field: int(given[name]) for name, field in numbers.items() if name in given}
    fields |= {field: given[name] for name, field in texts.items() if name in given}
    more = {name: value for name, value in given.items() if name not in numbers | texts}
    return SlurmOptions(**fields, more=more, at_once=at_once)


class Submitted:
    """A cell as what submitit pickles: it may be put back into the queue, since it resumes where it was."""

    def __init__(self, job: CellJob) -> None:
        """Keep the cell."""
        self.job = job

    def __call__(self) -> Outcome:
        """Run what is left of the cell."""
        outcome = run_cell(self.job)
        if outcome == "stopped":
            # Slurm told the command to stop, and will tell this process next: to go back into the queue, or to die.
            time.sleep(_TOLD)
        return outcome

    def checkpoint(self) -> Any:
        """The same again; called by submitit where the job is about to be ended."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(jobs: Sequence[CellJob], options: SlurmOptions, out: Path, cluster: Cluster = "slurm") -> list[Any]:
    """Submit a job for each cell; submitit's jobs, in the order of `jobs`.

    Args:
        jobs: the cells, at least one.
        options: what each requests.
        out: folder of the grid; submitit's files go to OUT/slurm.
        cluster: "local" runs the same jobs by submitit on this machine, to try them out.

    Returns:
        Handles of the jobs.

    Raises:
        UserError: no submitit, no Slurm, or Slurm refuses the jobs.
    """
    try:
        import submitit
    except ImportError:
        raise UserError("--launcher slurm needs submitit: pip install 'tvts-bench[slurm]'") from None
    if cluster == "slurm" and (missing := [name for name in ("sbatch", "srun", "squeue") if not shutil.which(name)]):
        raise UserError(
            f"there is no Slurm here ({', '.join(missing)} not found): start this on a login node of the cluster, or "
            "with --launcher local"
        )
    environment = thread_environment(options.cpus)
    own = [replace(job, grace=_GRACE, environment={**environment, **job.environment}) for job in jobs]
    executor = submitit.AutoExecutor(folder=out / "slurm" / "%j", cluster=cluster)
    executor.update_parameters(name="tvts-ablate", **options.parameters())
    refused = submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError
    try:
        with executor.batch():  # one array
            handles = [executor.submit(Submitted(job)) for job in own]
    except refused as error:
        last = str(error).strip().splitlines()[-1]
        raise UserError(f"Slurm does not take the jobs: {last}") from error
    return handles


def follow(
    jobs: Sequence[CellJob], handles: Sequence[Any], stop: Callable[[], bool], look: Callable[[], None] = lambda: None
) -> dict[str, Outcome]:
    """Wait for submitted jobs; how each cell ended, by key. Once `stop` says yes, the jobs are left to themselves.

    A job that ended without a word (killed by Slurm, its node lost) makes its cell failed, with that reason.

    Args:
        jobs: the cells.
        handles: what `submit` returned for them.
        stop: asked often.
        look: called a few times a second, to show the status.

    Returns:
        Outcome of each cell, by key.
    """
    outcomes: dict[str, Outcome] = {}
    missed = dict.fromkeys((job.key for job in jobs), 0)
    while len(outcomes) < len(jobs) and not stop():
        queued = _queued()
        for job, handle in zip(jobs, handles, strict=True):
            if job.key in outcomes:
                continue
            if handle.paths.result_pickle.exists():
                error = handle.exception()
                outcomes[job.key] = outcome_now(job) if error is None else record_death(job, _last_line(str(error)))
            elif not _is_alive(handle, queued):
                missed[job.key] += 1  # a shared file system may show a result later than the queue shows its end
                if missed[job.key] > _MISSED:
                    outcomes[job.key] = record_death(job, f"Slurm ended job {handle.job_id}: {_last_output(handle)}")
            if outcomes.get(job.key) == "taken":  # by a command that outlives its job for a moment
                del outcomes[job.key]
        _pause(stop, look)
    look()
    return {job.key: outcomes.get(job.key, "stopped") for job in jobs}


def _last_output(handle: Any) -> str:
    """The last line that a job wrote, or where to look."""
    try:
        return _last_line(handle.paths.stderr.read_text(encoding="utf-8", errors="replace"))
    except (OSError, IndexError):
        return f"it wrote nothing to {handle.paths.stderr}"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()


def _is_alive(handle: Any, queued: frozenset[str] | None) -> bool:
    if hasattr(handle, "_process"):  # submitit's local jobs are not in any queue
        return not handle.done()
    return queued is None or handle.job_id in queued


def _queued() -> frozenset[str] | None:
    """Ids of our jobs that wait or run; None where the scheduler does not answer."""
    if shutil.which("squeue") is None:
        return None
    ended = subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i", "-u", getpass.getuser()], capture_output=True, text=True, check=False
    )
    return frozenset(ended.stdout.split()) if ended.returncode == 0 else None


def _pause(stop: Callable[[], bool], look: Callable[[], None]) -> None:
    until = time.monotonic() + _LOOK
    while time.monotonic() < until and not stop():
        look()
        time.sleep(0.2)
