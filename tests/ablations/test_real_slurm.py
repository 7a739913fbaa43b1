"""A real Slurm of one node, started by slurm/start.sh: needs Debian's slurm-wlm and munge (make test-slurm)."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_cells import expected, fake_cell, result, steps_trained
from tvts_bench.ablations.jobs import CellJob, never
from tvts_bench.ablations.slurm import SlurmOptions, follow, submit
from tvts_bench.errors import UserError
from tvts_bench.results.grids import read_cell

pytestmark = pytest.mark.slurm
SCRIPTS = Path(__file__).parent / "slurm"
ONE_CORE = SlurmOptions(cpus=1, minutes=30)


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SCRIPTS / "start.sh", folder], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield
    del os.environ["SLURM_CONF"]
    subprocess.run([SCRIPTS / "stop.sh", folder], check=True)


def wait_for_step(job: CellJob, step: int) -> None:
    until = time.monotonic() + 60
    while not (job.folder / "trace.txt").exists() or step not in steps_trained(job):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_grid_runs_as_an_array_and_a_failure_does_not_spread(tmp_path: Path) -> None:
    jobs = [fake_cell(tmp_path, "bad", ending="diverge"), fake_cell(tmp_path, "a"), fake_cell(tmp_path, "b", steps=7)]
    handles = submit(jobs, ONE_CORE, tmp_path)
    assert len({handle.job_id.partition("_")[0] for handle in handles}) == 1
    assert follow(jobs, handles, never) == {"bad": "failed", "a": "done", "b": "done"}
    assert (result(jobs[1]), result(jobs[2])) == (expected(3), expected(7))


def test_a_preempted_job_goes_back_into_the_queue_and_on_from_its_state(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=60, pause=0.1)
    (handle,) = submit([job], ONE_CORE, tmp_path)

    def preempt() -> None:
        wait_for_step(job, 5)
        handle._interrupt()

    preemption = threading.Thread(target=preempt)
    preemption.start()
    assert follow([job], [handle], never) == {"a": "done"}
    preemption.join()
    assert steps_trained(job) == list(range(1, 61))
    assert result(job) == expected(60)
    shown = subprocess.run(["scontrol", "show", "job", handle.job_id], check=True, capture_output=True, text=True)
    assert "Restarts=1" in shown.stdout


def test_a_job_that_dies_without_a_word_is_a_failed_cell_that_can_be_tried_again(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=100, pause=0.1)
    handles = submit([job], ONE_CORE, tmp_path)
    wait_for_step(job, 5)
    os.kill(json.loads((job.folder / "claim").read_text())["process"], signal.SIGKILL)
    assert follow([job], handles, never) == {"a": "failed"}
    record = read_cell(tmp_path, "a")
    assert record is not None
    assert f"Slurm ended job {handles[0].job_id}" in str(record.reason)
    quick = fake_cell(tmp_path, "a", steps=100, failed_before=time.time())
    assert follow([quick], submit([quick], ONE_CORE, tmp_path), never) == {"a": "done"}
    assert steps_trained(quick) == list(range(1, 101))


def test_a_cancelled_job_is_not_a_failure(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=100, pause=0.1)
    handles = submit([job], ONE_CORE, tmp_path)
    wait_for_step(job, 5)
    handles[0].cancel()
    assert follow([job], handles, never) == {"a": "stopped"}
    quick = fake_cell(tmp_path, "a", steps=100)
    assert follow([quick], submit([quick], ONE_CORE, tmp_path), never) == {"a": "done"}
    assert steps_trained(quick) == list(range(1, 101))


def test_stopping_to_watch_leaves_the_jobs_alone(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=20, pause=0.1)
    handles = submit([job], ONE_CORE, tmp_path)
    assert follow([job], handles, lambda: True) == {"a": "stopped"}
    assert follow([job], handles, never) == {"a": "done"}
    assert result(job) == expected(20)


def test_what_slurm_refuses_is_one_sentence(tmp_path: Path) -> None:
    options = SlurmOptions(partition="no_such_partition")
    with pytest.raises(UserError, match=r"Slurm does not take the jobs: .*artition"):
        submit([fake_cell(tmp_path, "a")], options, tmp_path)
