"""One cell: its stages in order, each once; every way to fail has its name and reason; what was stopped resumes."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_cells import PROGRAM, RESULT, expected, fake_cell, result, steps_trained
from tvts_bench.ablations import commands
from tvts_bench.ablations.commands import Stage
from tvts_bench.ablations.jobs import CellJob, as_typed, cell_lock, is_finished, is_locked, record_death, run_cell
from tvts_bench.results.grids import CellRecord, GridError, StageRecord, cell_folder, read_cell, write_cell


def record_of(job: CellJob) -> CellRecord:
    record = read_cell(job.out, job.key)
    assert record is not None
    return record


def test_a_cell_trains_is_measured_and_says_so(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=3)
    assert not is_finished(job)
    assert run_cell(job) == "done"
    assert is_finished(job)
    record = record_of(job)
    assert (record.status, record.reason, record.seed, record.config) == ("done", None, 0, {"steps": 3})
    train, measure = record.stages
    assert measure.results == (RESULT,)
    assert (measure.protocol, measure.dataset, train.results) == ("retrieval", "ssv2", ())
    assert train.command == as_typed(job.stages[0].command, job.folder)
    assert not any(str(tmp_path) in part for stage in record.stages for part in stage.command)
    assert train.seconds > 0
    assert result(job) == expected(3)
    document = json.loads((job.folder / "cell.json").read_text())
    assert document["status"] == "done"
    assert as_typed(("x", f"out={job.folder}/run", "samples=/tmp/s", "cache=c"), job.folder) == (
        "x",
        "out=run",
        "samples=DIR",
        "cache=DIR",
    )


def test_what_is_done_is_not_done_again_but_what_was_deleted_is(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    run_cell(job)
    written = (job.folder / RESULT).stat().st_mtime_ns
    assert run_cell(job) == "done"
    assert (job.folder / RESULT).stat().st_mtime_ns == written
    (job.folder / RESULT).unlink()
    assert not is_finished(job)
    assert run_cell(job) == "done"
    assert steps_trained(job) == [1, 2, 3]


def test_a_published_cell_needs_no_checkpoint_until_something_is_left_to_measure(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    run_cell(job)
    (job.folder / job.stages[0].produces).unlink()
    assert is_finished(job)
    assert run_cell(job) == "done"
    assert steps_trained(job) == [1, 2, 3]
    (job.folder / RESULT).unlink()
    assert not is_finished(job)
    assert run_cell(job) == "done"
    assert (job.folder / job.stages[0].produces).is_file()
    assert result(job) == expected(3)


def test_commands_are_recorded_as_one_would_type_them_in_the_folder(tmp_path: Path) -> None:
    command = (*commands.PROGRAM, "pretrain", "run", "scripted_motion_tiny", f"out={tmp_path / 'run'}")
    assert as_typed(command, tmp_path) == ("tvts-pretrain", "run", "scripted_motion_tiny", "out=run")


def test_a_further_evaluation_trains_nothing_again(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    run_cell(job)
    more = replace(job.stages[1], name="more", produces="results/more/*.json", dataset="k400")
    command = (*more.command[:-1], str(job.folder / "results/more"))
    extended = replace(job, stages=(*job.stages, replace(more, command=command)))
    assert not is_finished(extended)
    assert run_cell(extended) == "done"
    assert steps_trained(job) == [1, 2, 3]
    assert [stage.name for stage in record_of(job).stages] == ["pretrain", "measure", "more"]
    assert is_finished(job)


@pytest.mark.parametrize(
    ("ending", "failure", "reason"),
    [
        ("diverge", "diverged", "the loss is nan at step 1"),
        ("kill", "killed", "killed by SIGKILL, as the system does where memory runs out"),
        ("memory", "out of memory", "MemoryError: an array of 1 TiB"),
    ],
)
def test_each_way_to_fail_has_a_name_and_a_reason(tmp_path: Path, ending: str, failure: str, reason: str) -> None:
    job = fake_cell(tmp_path, "a", ending=ending)
    assert run_cell(job) == "failed"
    record = record_of(job)
    assert (record.status, record.reason) == ("failed", reason)
    assert [stage.status for stage in record.stages] == ["failed", "waiting"]  # nothing to measure
    assert record.stages[0].failure == failure


def test_a_failed_cell_stays_failed_until_it_is_asked_to_be_tried_again(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", ending="diverge")
    run_cell(job)
    assert is_finished(job)
    assert run_cell(job) == "failed"
    assert steps_trained(job) == [1]
    mended = fake_cell(tmp_path, "a", failed_before=time.time())
    assert not is_finished(mended)
    assert run_cell(mended) == "done"
    assert result(job) == expected(3)
    again = fake_cell(tmp_path, "b", ending="diverge", failed_before=time.time())
    assert run_cell(again) == "failed"
    assert run_cell(again) == "failed"
    assert steps_trained(again) == [1], "a second launcher does not try again what the first has just tried"


def test_an_evaluation_that_fails_does_not_keep_the_next_from_running(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    wrong = Stage(name="wrong", protocol="probe", dataset="ssv2", command=(*PROGRAM, "measure", "/no", str(tmp_path)),
                  produces="no/*")  # fmt: skip
    job = replace(job, stages=(job.stages[0], wrong, job.stages[1]))
    assert run_cell(job) == "failed"
    record = record_of(job)
    assert [stage.status for stage in record.stages] == ["done", "failed", "done"]
    assert "No such file or directory: '/no'" in str(record.reason)


def test_a_command_that_leaves_nothing_or_cannot_be_started_has_failed(tmp_path: Path) -> None:
    for command, reason in (
        ((sys.executable, "-S", "-c", ""), "ended well but left no x"),
        (("/no/such",), "cannot be started"),
    ):
        stage = Stage(name="s", protocol="probe", command=command, produces="x")
        job = replace(fake_cell(tmp_path, reason.replace(" ", "")), stages=(stage,))
        assert run_cell(job) == "failed"
        assert reason in str(record_of(job).reason)


@pytest.mark.parametrize(
    ("status", "remark"), [('{"not_learned": "26 %"}', "26 %"), ("{}", None), ("[", None), ("[]", None)]
)
def test_a_run_that_has_not_learned_to_sort_is_done_and_marked(tmp_path: Path, status: str, remark: str | None) -> None:
    job = fake_cell(tmp_path, "a")
    write = f"import pathlib; pathlib.Path({str(job.folder / 'run/status.json')!r}).write_text({status!r})"
    train = replace(job.stages[0], produces="run/status.json", command=(sys.executable, "-S", "-c", write))
    (job.folder / "run").mkdir(parents=True)
    assert run_cell(replace(job, stages=(replace(train, discard=None),))) == "done"
    assert [stage.reason for stage in record_of(job).stages] == [remark]
    assert record_of(job).reason == remark


def test_a_reason_is_not_taken_from_an_earlier_attempt(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", ending="memory")
    run_cell(job)
    run_cell(fake_cell(tmp_path, "a", ending="kill", failed_before=time.time()))
    assert record_of(job).stages[0].failure == "killed"


def test_time_that_is_up_is_a_failure_and_the_saved_state_is_kept(tmp_path: Path) -> None:
    slow = fake_cell(tmp_path, "a", steps=100, pause=0.05, timeout=0.6)
    assert run_cell(slow) == "failed"
    stage = record_of(slow).stages[0]
    assert (stage.failure, str(stage.reason).startswith("its time was up after")) == ("time limit", True)
    done = steps_trained(slow)
    assert 1 <= len(done) < 50
    quick = fake_cell(tmp_path, "a", steps=100, failed_before=time.time())
    assert run_cell(quick) == "done"
    assert steps_trained(quick) == list(range(1, 101))


def test_a_command_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=1000, pause=0.05, ending="hang", timeout=0.3, grace=0.3)
    begun = time.monotonic()
    assert run_cell(job) == "failed"
    assert time.monotonic() - begun < 10
    assert record_of(job).stages[0].failure == "time limit"


def test_stopping_saves_and_the_same_cell_goes_on(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a", steps=40, pause=0.02)
    asked = threading.Event()
    threading.Timer(0.4, asked.set).start()
    assert run_cell(job, asked.is_set) == "stopped"
    record = record_of(job)
    assert (record.status, record.reason) == ("waiting", "stopped; resumes from its last state")
    assert run_cell(job) == "done"
    assert steps_trained(job) == list(range(1, 41))
    assert result(job) == expected(40)


def test_what_left_no_state_is_begun_anew(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    (job.folder / "run").mkdir(parents=True)
    (job.folder / "run" / "config.yaml").write_text("cut o")
    assert run_cell(job) == "done"
    assert not (job.folder / "run" / "config.yaml").exists()


def test_a_claimed_cell_is_left_alone_and_says_whose_it_is(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    assert not is_locked(job.folder)
    with cell_lock(job.folder) as lock:
        assert lock is not None
        assert is_locked(job.folder)
        assert json.loads((job.folder / "claim").read_text())["process"] == os.getpid()
        assert run_cell(job) == "taken"
        assert record_death(job, "gone") == "taken"
    assert not is_locked(job.folder)
    assert run_cell(job) == "done"


def test_a_command_that_outlives_its_launcher_holds_the_claim(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "tests.support.fake_cells", str(tmp_path), "1", "15", "0.1"]
    launcher = subprocess.Popen(arguments)
    job = fake_cell(tmp_path, "cell0", steps=15)
    while not (job.folder / "trace.txt").exists():
        assert launcher.poll() is None
        time.sleep(0.01)
    launcher.kill()
    launcher.wait()
    assert run_cell(job) == "taken"
    while is_locked(job.folder):
        time.sleep(0.05)
    assert run_cell(job) == "done"
    assert steps_trained(job) == list(range(1, 16))
    assert not (job.folder / "two at once").exists()


def test_a_death_without_a_word_is_recorded(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    running = StageRecord(name="pretrain", protocol="pretrain", status="running", started=time.time())
    write_cell(tmp_path, CellRecord(key="a", config={}, seed=0, stages=(running,)))
    assert record_death(job, "job 7 ended") == "failed"
    assert (record_of(job).status, record_of(job).reason) == ("failed", "job 7 ended")
    run_cell(other := fake_cell(tmp_path, "b"))
    assert record_death(other, "too late to matter") == "done"
    assert record_death(fake_cell(tmp_path, "c"), "never started") == "failed"


def test_records_that_cannot_be_read_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = cell_folder(tmp_path, "a") / "cell.json"
    path.parent.mkdir(parents=True)
    for text, sentence in (
        ("{", "cannot read"),
        ('{"schema": 99}', "written by another version of tvts-bench; give another --out"),
        ('{"schema": 1, "stages": []}', "no record of a cell"),
    ):
        path.write_text(text)
        with pytest.raises(GridError, match=sentence):
            run_cell(fake_cell(tmp_path, "a"))
