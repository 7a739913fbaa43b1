"""A launch measures again what no longer holds of a cell: once, and without training anything."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_cells import RESULT, fake_cell, steps_trained
from tests.support.plain_videos import write_plain_video
from tests.support.results import retrieval
from tvts_bench.ablations.commands import BACKBONE, EvaluationSpec
from tvts_bench.ablations.jobs import CellJob, is_finished, run_cell
from tvts_bench.ablations.outdated import with_outdated
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.results import Result
from tvts_bench.results.files import write_files
from tvts_bench.results.grids import CellRecord, StageRecord, read_cell, write_cell
from tvts_bench.snapshot import file_signatures, snapshot


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of two videos."""
    for name, colour in {
        "red/0": (200, 0, 0),
        "red/1": (180, 0, 0),
        "blue/0": (0, 0, 200),
        "blue/1": (0, 0, 90),
    }.items():
        write_plain_video(tmp_path / "data" / f"{name}.mp4", colour)
    return tmp_path / "data"


def measured(dataset: Dataset, **changes: object) -> Result:
    """A result of every clip of `dataset` as it is now."""
    coverage = SplitCoverage(
        split="all",
        fingerprint=dataset.fingerprint("all"),
        listed=4,
        used=4,
        failed={},
        files=snapshot(file_signatures(dataset.files("all"))),
    )
    return retrieval([[True], [False]], parts=(replace(coverage, **changes),))  # type: ignore[arg-type]


def done_cell(out: Path, measure: EvaluationSpec, result: Result, key: str = "a") -> CellJob:
    """A cell whose pretraining is done, and whose evaluation left `result`."""
    job = fake_cell(out, key)
    train, evaluation = job.stages
    evaluation = replace(
        evaluation, name=measure.name, dataset=measure.dataset, produces=f"results/{measure.name}/*.json"
    )
    job = replace(job, stages=(train, evaluation))
    path = write_files(result, job.folder / "results" / measure.name).json
    stages = (
        StageRecord(name=train.name, protocol=train.protocol, status="done"),
        StageRecord(
            name=measure.name,
            protocol="retrieval",
            dataset=measure.dataset,
            status="done",
            started=5.0,
            results=(str(path.relative_to(job.folder)),),
        ),
    )
    write_cell(out, CellRecord(key=key, config={}, seed=0, stages=stages))
    (job.folder / BACKBONE).parent.mkdir()
    (job.folder / BACKBONE).write_bytes(b"weights")
    return job


def replace_content(path: Path) -> None:
    """Other bytes of the same size and time of change."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_videos_that_were_replaced_under_their_names_are_measured_again(data: Path, tmp_path: Path) -> None:
    measure = EvaluationSpec(protocol="retrieval", dataset="folder", root=str(data))
    jobs = [done_cell(tmp_path / "out", measure, measured(load_dataset("folder", data)), key) for key in ("a", "b")]
    same = with_outdated(jobs, [measure], tmp_path / "cache")
    assert same[0] == jobs
    assert not same[1]
    assert all(is_finished(job) for job in same[0])
    replace_content(data / "red" / "0.mp4")
    changed = with_outdated(jobs, [measure], tmp_path / "cache")
    assert [job.outdated for job in changed[0]] == [{measure.name: 5.0}] * 2
    assert not any(is_finished(job) for job in changed[0])
    (sentence,) = changed[1]
    assert sentence.startswith(f"measured again in 2 of 2 cells: {measure.name} was measured on other files")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": None}, "was made before results recorded their files"),
        ({"transient": ("red/0.mp4",), "failed": {"red/0.mp4": "timed out"}, "used": 3}, "lacks 1 clips of all"),
        ({"fingerprint": "f" * 64}, "was measured on another list of all"),
    ],
)
def test_every_reason_is_said(data: Path, tmp_path: Path, changes: dict[str, object], words: str) -> None:
    measure = EvaluationSpec(protocol="retrieval", dataset="folder", root=str(data))
    job = done_cell(tmp_path / "out", measure, measured(load_dataset("folder", data), **changes))
    (sentence,) = with_outdated([job], [measure], tmp_path / "cache")[1]
    assert words in sentence


def test_what_would_have_to_be_trained_again_is_left_and_named(data: Path, tmp_path: Path) -> None:
    """As in a folder that was published without its checkpoints."""
    measure = EvaluationSpec(protocol="retrieval", dataset="folder", root=str(data))
    job = done_cell(tmp_path / "out", measure, measured(load_dataset("folder", data)))
    (job.folder / BACKBONE).unlink()
    replace_content(data / "red" / "0.mp4")
    checked = with_outdated([job], [measure], tmp_path / "cache")
    assert checked[0] == [job]
    (sentence,) = checked[1]
    assert sentence.startswith("left as it is in 1 of 1 cells, whose checkpoints are gone")


def test_a_data_set_that_is_not_there_has_not_changed(data: Path, tmp_path: Path) -> None:
    """The built-in synthetic set is not made for the question, and a cluster's login node need not see the videos."""
    real = EvaluationSpec(protocol="retrieval", dataset="folder", root=str(tmp_path / "elsewhere"))
    embedded = EvaluationSpec(protocol="retrieval", dataset="ssv2", root=None)
    result = measured(load_dataset("folder", data))
    jobs = [done_cell(tmp_path / "out", measure, result, measure.dataset) for measure in (real, embedded)]
    assert with_outdated(jobs, [real, embedded], tmp_path / "cache")[0] == list(jobs)
    assert not (tmp_path / "cache").exists()


def test_an_outdated_evaluation_runs_once_and_its_earlier_result_is_set_aside(tmp_path: Path) -> None:
    job = fake_cell(tmp_path, "a")
    assert run_cell(job) == "done"
    record = read_cell(tmp_path, "a")
    assert record is not None
    again = replace(job, outdated={"measure": record.stages[1].started})
    assert not is_finished(again)
    assert run_cell(again) == "done"
    assert is_finished(again)  # a launcher that still waits for it does not run it a second time
    assert sorted(path.name for path in (job.folder / RESULT).parent.iterdir()) == ["result.1.json", "result.json"]
    record = read_cell(tmp_path, "a")
    assert record is not None
    assert record.stages[1].results == (RESULT,)
    assert steps_trained(job) == [1, 2, 3]
