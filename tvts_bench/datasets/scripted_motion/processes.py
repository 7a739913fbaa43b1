"""Run jobs on worker processes that are plain children of this one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import tvts_bench
from tvts_bench.datasets.scripted_motion.jobs import run_job

Job = Mapping[str, Any]

_WORKER = "tvts_bench.datasets.scripted_motion.worker"


class Crew:
    """Worker processes that live as long as its `with` block; started when the first jobs need them.

    With `workers` 0 or 1 jobs run in the calling process.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._processes: list[subprocess.Popen[str]] = []
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (index of the job, answer of `jobs.run_job`) as they finish."""
        if self._workers <= 1:
            yield from ((index, run_job(job)) for index, job in enumerate(jobs))
            return
        while len(self._processes) < min(self._workers, len(jobs)):
            self._processes.append(_start())
            self._idle.put(self._processes[-1])
        # A thread a process: each only waits for its answer.
        threads = ThreadPoolExecutor(max(len(self._processes), 1))
        try:
            futures = {threads.submit(self._ask, job): index for index, job in enumerate(jobs)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, job: Job) -> dict[str, Any]:
        process = self._idle.get()
        try:
            return _answer(process, job)
        finally:
            self._idle.put(process)


def _start() -> "subprocess.Popen[str]":
    # -P: a file in the working folder never stands in for a library. The package may be a checkout, not installed.
    package = str(Path(tvts_bench.__file__).parent.parent)
    search = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )


def _answer(process: "subprocess.Popen[str]", job: Job) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        return {"error": f"a worker process ended (exit code {process.wait()}); its message is above, if it left one"}
    answer: dict[str, Any] = json.loads(line)
    return answer
