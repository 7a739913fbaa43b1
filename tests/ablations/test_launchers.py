"""Many cells: kills leave no trace, two launchers share the work, failures do not spread, submitit runs the same."""

import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.fake_cells import expected, fake_cell, result, steps_trained
from tvts_bench.ablations.jobs import CellJob, never
from tvts_bench.ablations.local import Slots, run_local, slots_for, thread_environment
from tvts_bench.ablations.slurm import SlurmOptions, Submitted, follow, slurm_options, submit
from tvts_bench.errors import UserError
from tvts_bench.results.grids import GridError, read_cell

TWO = Slots(count=2, threads=1)


def launcher(out: Path, cells: int, steps: int, pause: float) -> "subprocess.Popen[bytes]":
    arguments = [str(out), str(cells), str(steps), str(pause)]
    return subprocess.Popen([sys.executable, "-m", "tests.support.fake_cells", *arguments], start_new_session=True)


def assert_as_never_interrupted(jobs: list[CellJob], steps: int) -> None:
    for job in jobs:
        record = read_cell(job.out, job.key)
        assert record is not None
        assert record.status == "done"
        assert [stage.status for stage in record.stages] == ["done", "done"]
        assert result(job) == expected(steps)
        assert not (job.folder / "two at once").exists()


def kill_often(out: Path, kills: int, seed: int) -> None:
    """A grid of four cells, whose launcher is killed again and again, with or without what it has started."""
    rng, steps = random.Random(seed), 30
    killed = 0
    while killed < kills:
        process = launcher(out, 4, steps, 0.03)
        time.sleep(rng.uniform(0.1, 1.2))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        for child in children if rng.random() < 0.5 else []:
            child.kill()
        process.wait()
        killed += 1
    jobs = [fake_cell(out, f"cell{number}", steps) for number in range(4)]
    assert set(run_local(jobs, TWO, never).values()) == {"done"}
    assert_as_never_interrupted(jobs, steps)


def test_a_grid_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path) -> None:
    kill_often(tmp_path, kills=3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_grid_killed_ten_times_ends_as_one_that_was_not(tmp_path: Path, seed: int) -> None:
    kill_often(tmp_path, kills=10, seed=seed)


def test_two_launchers_on_one_grid_run_every_step_once(tmp_path: Path) -> None:
    steps = 20
    processes = [launcher(tmp_path, 4, steps, 0.03) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    jobs = [fake_cell(tmp_path, f"cell{number}", steps) for number in range(4)]
    for job in jobs:
        assert steps_trained(job) == list(range(1, steps + 1))
    assert_as_never_interrupted(jobs, steps)


def test_a_cell_that_diverges_shows_as_failed_and_the_others_are_right(tmp_path: Path) -> None:
    jobs = [fake_cell(tmp_path, "bad", ending="diverge"), fake_cell(tmp_path, "a"), fake_cell(tmp_path, "b")]
    assert run_local(jobs, TWO, never) == {"bad": "failed", "a": "done", "b": "done"}
    assert_as_never_interrupted(jobs[1:], 3)


def test_being_told_to_stop_stops_all_cells_and_begins_none(tmp_path: Path) -> None:
    jobs = [fake_cell(tmp_path, name, steps=200, pause=0.02) for name in "abc"]
    begun = time.monotonic()
    outcomes = run_local(jobs, TWO, lambda: time.monotonic() > begun + 0.6)
    assert set(outcomes.values()) == {"stopped"}
    assert read_cell(tmp_path, "c") is None
    assert all(0 < len(steps_trained(job)) < 200 for job in jobs[:2])


def test_a_record_that_cannot_be_read_ends_the_grid_with_that_error(tmp_path: Path) -> None:
    bad = fake_cell(tmp_path, "bad")
    bad.folder.mkdir(parents=True)
    (bad.folder / "cell.json").write_text("{")
    with pytest.raises(GridError, match=r"cannot read .*cell\.json"):
        run_local([bad, fake_cell(tmp_path, "a", steps=1000, pause=0.02)], TWO, never)


def test_slots_are_no_more_than_cells_or_cores_and_divide_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvts_bench.ablations.local.default_workers", lambda: 8)
    assert slots_for(4, "cpu") == Slots(count=4, threads=2)
    assert slots_for(40, "cpu") == Slots(count=8, threads=1)
    assert slots_for(1, "cpu") == Slots(count=1, threads=8)
    assert slots_for(4, "cpu", at_once=3) == Slots(count=3, threads=2)
    assert slots_for(4, "cuda:1") == Slots(count=1, threads=8)


def test_each_slot_has_a_gpu_of_its_own() -> None:
    slots = Slots(count=3, threads=5, gpus=("0", "7"))
    assert [slots.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "7", "0"]
    assert slots.environment(0)["OMP_NUM_THREADS"] == "5"
    assert "CUDA_VISIBLE_DEVICES" not in TWO.environment(0)


def test_submitit_runs_the_same_jobs(tmp_path: Path) -> None:
    jobs = [fake_cell(tmp_path, "bad", ending="diverge"), fake_cell(tmp_path, "a")]
    handles = submit(jobs, SlurmOptions(cpus=1), tmp_path, cluster="local")
    assert follow(jobs, handles, never) == {"bad": "failed", "a": "done"}
    assert_as_never_interrupted(jobs[1:], 3)


def test_a_job_put_back_into_the_queue_is_the_same_job(tmp_path: Path) -> None:
    submitted = Submitted(fake_cell(tmp_path, "a"))
    assert submitted.checkpoint().function is submitted


def test_without_slurm_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no Slurm here \(sbatch, srun, squeue not found\)"):
        submit([fake_cell(tmp_path, "a")], SlurmOptions(), tmp_path)


def test_what_a_job_asks_slurm_for() -> None:
    given = {"partition": "gpu", "time": "90", "cpus": "8", "gpus": "1", "mem": "32G", "constraint": "a100", "qos": "q"}
    options = slurm_options(given, at_once=5)
    assert options.parameters() == {
        "slurm_partition": "gpu",
        "slurm_mem": "32G",
        "slurm_constraint": "a100",
        "slurm_additional_parameters": {"qos": "q"},
        "gpus_per_node": 1,
        "timeout_min": 90,
        "cpus_per_task": 8,
        "slurm_array_parallelism": 5,
        "slurm_signal_delay_s": 90,
    }
    with pytest.raises(UserError, match="--slurm time=1h: must be a whole number of minutes"):
        slurm_options({"time": "1h"})
    assert slurm_options({}).parameters()["timeout_min"] == 720


def test_threads_are_said_in_the_variables_that_libraries_read() -> None:
    assert thread_environment(3) == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
