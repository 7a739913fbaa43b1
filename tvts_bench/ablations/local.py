"""Cells on this machine: as many at once as fit, each with its share of the cores, or with a GPU of its own."""

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tvts_bench.ablations.jobs import CellJob, Outcome, run_cell
from tvts_bench.runtime import default_workers, require_workers

_AGAIN = 1.0  # seconds until a cell that somebody else runs is looked at again
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many cells run at once, and what each has."""

    count: int
    threads: int  # of each
    gpus: tuple[str, ...] = ()  # CUDA_VISIBLE_DEVICES of each slot; empty on a CPU

    def environment(self, slot: int) -> Mapping[str, str]:
        """Of the commands in that slot."""
        own = thread_environment(self.threads)
        return {**own, "CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else own


def thread_environment(threads: int) -> dict[str, str]:
    """What keeps a command and the libraries in it to that many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def slots_for(cells: int, device: str, at_once: int | None = None) -> Slots:
    """One slot per GPU, else one per core, and no more than cells; cores are divided among slots.

    Args:
        cells: to be run.
        device: "cpu", "auto", "cuda", "cuda:1".
        at_once: slots requested.

    Returns:
        With threads and GPUs of each slot.

    Raises:
        UserError: more slots than one machine runs processes.
    """
    require_workers(at_once or 0, "--jobs")
    cores = default_workers()
    gpus = visible_gpus() if device in ("auto", "cuda") else ()
    count = at_once or max(1, min(cells, len(gpus) or (cores if device in ("auto", "cpu") else 1)))
    return Slots(count=count, threads=max(1, cores // count), gpus=gpus)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that commands started here would see, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count] if named else (str(number) for number in range(count)))


def run_local(
    jobs: Sequence[CellJob], slots: Slots, stop: Callable[[], bool], look: Callable[[], None] = lambda: None
) -> dict[str, Outcome]:
    """Run all `jobs`; how each ended, by key.

    A cell that another launcher runs is waited for, and then resumed if something of it is left.

    Args:
        jobs: the cells.
        slots: how many at once.
        stop: asked often; once it says yes, running commands are told to save their state, and no new one starts.
        look: called a few times a second in this thread, to show the status.

    Returns:
        Outcome of each cell, by key.

    Raises:
        UserError, OSError: a record cannot be read or written. Other cells are stopped first.
    """
    waiting: queue.SimpleQueue[CellJob] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    outcomes: dict[str, Outcome] = {}
    errors: list[BaseException] = []

    def halted() -> bool:
        return bool(errors) or stop()

    def work(slot: int) -> None:
        while not halted():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            own = replace(job, environment={**slots.environment(slot), **job.environment})
            try:
                outcomes[job.key] = run_cell(own, halted)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits for this one
                errors.append(error)
                return
            if outcomes[job.key] == "taken":
                time.sleep(_AGAIN)
                waiting.put(job)

    # Daemons: after a second Ctrl-C nobody waits for them, and the locks that commands inherit keep others away.
    threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in range(slots.count)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        look()
        time.sleep(0.2)
    look()
    if errors:
        raise errors[0]
    for job in jobs:
        outcomes.setdefault(job.key, "stopped")
    return outcomes
