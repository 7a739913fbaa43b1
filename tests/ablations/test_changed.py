"""Cells of data that is other data now are trained and measured again; those that draw their samples are not asked."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.fake_cells import RESULT, expected, fake_cell, result
from tvts_bench.ablations.commands import RUN, STATE, PretrainingError
from tvts_bench.ablations.jobs import CellJob, is_finished, run_cell
from tvts_bench.ablations.outdated import set_aside_changed


def read_files(job: CellJob) -> CellJob:
    """The cell after it was run, as one whose pretraining reads files."""
    assert run_cell(job) == "done"
    (job.folder / RUN / "source_files.parquet").touch()
    return job


def test_a_cell_whose_files_changed_is_run_again_and_keeps_what_it_had(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed, same, drawn = (fake_cell(tmp_path, name, steps=3) for name in ("changed", "same", "drawn"))
    read_files(changed)
    read_files(same)
    assert run_cell(drawn) == "done"
    old = (changed.folder / RESULT).read_bytes()
    asked: list[Path] = []

    def ask(runs: Sequence[Path]) -> dict[Path, list[str]]:
        asked.extend(runs)
        return {run: ["a (changed)", "b (gone)"] if run.parent.name == "changed" else [] for run in runs}

    set_aside_changed([changed, same, drawn], ask)
    assert {run.parent.name for run in asked} == {"changed", "same"}
    assert [is_finished(job) for job in (changed, same, drawn)] == [False, True, True]
    assert "cell changed was trained on other files than there are now (a (changed), b (gone))" in caplog.text
    assert (changed.folder / "run.1" / Path(STATE).relative_to(RUN)).is_file()
    assert (changed.folder / RESULT.replace("results", "results.1")).read_bytes() == old
    assert run_cell(changed) == "done"
    assert result(changed) == expected(3)  # from its first step, not from the old state
    read_files(changed)
    set_aside_changed([changed], ask)
    assert (changed.folder / "run.2").is_dir()


def test_data_that_is_gone_leaves_finished_cells_alone_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(runs: Sequence[Path]) -> dict[Path, list[str]]:
        raise PretrainingError("there is no folder /data")

    job = read_files(fake_cell(tmp_path, "a"))
    set_aside_changed([job], gone)
    assert is_finished(job)
    assert "cannot be told: there is no folder /data" in caplog.text


def test_cells_that_draw_start_no_process(tmp_path: Path) -> None:
    def never(runs: Sequence[Path]) -> dict[Path, list[str]]:
        raise AssertionError(runs)

    job = fake_cell(tmp_path, "a")
    set_aside_changed([job], never)
    assert run_cell(job) == "done"
    set_aside_changed([job], never)
