"""The commands: a real grid of toy runs from pretraining to results, dry runs, status, and mistakes in one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.fake_cells import fake_cell
from tvts_bench.ablations import plan as planning
from tvts_bench.ablations.grids import FULL, QUICK, STANDARD, Budget, Grid, GridRow, find_grid
from tvts_bench.ablations.jobs import cell_lock, never, run_cell
from tvts_bench.ablations.local import Slots, run_local
from tvts_bench.ablations.plan import GridRequest, Resources, plan
from tvts_bench.ablations.status import cell_statuses, pretraining_progress
from tvts_bench.cli.main import app
from tvts_bench.cli.report import duration
from tvts_bench.datasets.scripted_motion import World, make_world
from tvts_bench.results import load
from tvts_bench.results.grids import (
    CellRecord,
    GridRecord,
    RowRecord,
    StageRecord,
    merge_records,
    read_cell,
    write_cell,
    write_grid,
)

TOY = """
description: for tests
steps: 2
video: {embed_dim: 32, depth: 1, num_heads: 2, image_size: 32, patch_size: 16, num_frames: 4}
text: {name: null, dim: 32, depth: 1, num_heads: 2, max_tokens: 24, dropout: 0.0}
model: {mask: 0.25, projection_dim: 16}
objective: {segments: 2}
data:
  batch_size: 4
  lengths: [3.0]
  sources: [{kind: scripted_motion_drawn, frames: 4}]
  crop: {size: 32, short_side: 36}
checkpoint: {every_steps: 1}
"""
runner = CliRunner()


@pytest.fixture
def toy(tmp_path: Path) -> str:
    """A preset that trains in seconds."""
    (tmp_path / "toy.yaml").write_text(TOY)
    return str(tmp_path / "toy.yaml")


def test_a_grid_from_pretraining_to_results_and_a_cell_that_diverges(
    tmp_path: Path, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    make_world(tmp_path / "world", World(ssv2_val=48), parts=("ssv2-val",), workers=0)
    rows = (
        GridRow(name="good", title="good", settings={"objective.sort": "factorial"}),
        GridRow(name="wild", title="wild", settings={"objective.weight": "1e39"}),
    )
    grid = Grid(name="toys", title="toys", rows=rows, datasets=("ssv2",), baseline="good")
    asked = GridRequest(
        grid=grid,
        budget=FULL,
        out=tmp_path / "out",
        pretrain=toy,
        protocols=("retrieval",),
        data={"ssv2": str(tmp_path / "world/ssv2")},
    )
    cells = {cell.row: cell for cell in plan(asked).cells}
    jobs = [cell.job(Resources(device="cpu")) for cell in cells.values()]
    outcomes = run_local(jobs, Slots(count=2, threads=1), never)
    records = {row: read_cell(asked.out, cell.key) for row, cell in cells.items()}
    good, wild = records["good"], records["wild"]
    assert good is not None
    assert wild is not None
    assert {row: outcomes[cell.key] for row, cell in cells.items()} == {"good": "done", "wild": "failed"}, records
    assert wild.stages[0].failure == "diverged"
    assert "the loss is" in str(wild.reason)
    assert good.config["pretraining"]["objective"]["sort"] == "factorial"
    train, retrieval = good.stages
    assert (train.status, retrieval.protocol, retrieval.dataset) == ("done", "retrieval", "ssv2")
    found = load(cells["good"].folder / retrieval.results[0])
    assert found.run.dataset["name"] == "ssv2"
    assert 0 <= found.metric("R@1").value <= 100


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tvts-pretrain would say, without a process."""

    def configurations(preset: str, assignments: list[list[str]]) -> list[dict[str, Any]]:
        size = {"steps": 640, "data": {"batch_size": 64}, "init": {"text_steps": 0, "text_batch": 1}, "video": {}}
        return [{**size, "settings": each} for each in assignments]

    monkeypatch.setattr(planning, "resolve", configurations)


@pytest.mark.usefixtures("resolved")
def test_a_dry_run_shows_cells_commands_and_time(tmp_path: Path) -> None:
    ended = runner.invoke(app, ["ablate", "sort-modeling", "--dry-run", "--device=cpu", f"--out={tmp_path}"])
    assert ended.exit_code == 0, ended.output
    for words in ("none:0", "pairwise:0", "factorial:0", "k_way:0", "-m pretrain run scripted_motion_quick "):
        assert words in ended.stdout
    assert "-m tvts_bench retrieval --ckpt" in ended.stdout
    assert "4 cells" in ended.stderr
    assert "time unknown" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("resolved")
@pytest.mark.parametrize("budget", [QUICK, STANDARD, FULL])
def test_a_cell_that_is_done_says_how_long_the_others_take(tmp_path: Path, budget: Budget) -> None:
    request = GridRequest(grid=find_grid("sort-target"), budget=budget, out=tmp_path, protocols=("finetune",))
    first = plan(request).cells[0]
    stages = [
        StageRecord(name=stage.name, protocol=stage.protocol, status="done", seconds=60.0)
        for stage in first.job(Resources(device="cpu")).stages
    ]
    write_cell(tmp_path, CellRecord(key=first.key, config={}, seed=0, stages=tuple(stages)))
    arguments = [f"--preset={budget.name}", "--evaluate=finetune", "--dry-run", "--device=cpu", f"--out={tmp_path}"]
    ended = runner.invoke(app, ["ablate", "sort-target", *arguments, "--only=transcript:0", "--jobs=1"])
    assert ended.exit_code == 0, ended.output
    assert "1 cells, 1 at once: about 3 min" in ended.stderr  # pretraining and two data sets


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sort-modelling"], "unknown grid 'sort-modelling' (did you mean sort-modeling"),
        (["lambda", "--preset", "fast"], "unknown preset of an ablation 'fast'"),
        (["lambda", "--evaluate", "probe,fine-tune"], "unknown protocol 'fine-tune' (did you mean finetune?)"),
        (["lambda", "--set", "steps"], "--set takes NAME=VALUE, got 'steps'"),
        (["lambda", "--launcher", "slrum"], "unknown launcher 'slrum' (did you mean slurm?)"),
        (["objective", "--value", "3"], "objective takes no other values"),
        (["lambda", "--data", "ssv=x"], "unknown data set of lambda 'ssv' (did you mean ssv2?)"),
        (["lambda", "--data", "ssv2=no-such-folder"], "--data ssv2=no-such-folder: there is no such folder"),
        (["lambda", "--data", "ssv2=", "--dry-run"], "--data ssv2=: there is no such folder"),
        (["lambda", "--set", "steps=3", "--set", "steps=4"], "--set steps= is given twice: 3 and 4"),
        (["lambda", "--slurm", "partition=gpu"], "--slurm partition=gpu says what a job of Slurm asks for: add"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(arguments: list[str], sentence: str) -> None:
    ended = runner.invoke(app, ["ablate", *arguments])
    assert ended.exit_code == 2, ended.output
    assert sentence in ended.stderr
    assert "Traceback" not in ended.output


def test_a_folder_without_a_grid_is_said(tmp_path: Path) -> None:
    ended = runner.invoke(app, ["status", str(tmp_path)])
    assert ended.exit_code == 2
    assert "holds no grid" in ended.stderr


def grid_of(out: Path, *keys: str) -> GridRecord:
    """A grid with a row for each key."""
    rows = tuple(
        RowRecord(name=f"row-{key}", title=key, settings={}, cells={"0": key}, stages=("measure",)) for key in keys
    )
    record = GridRecord(
        grid="lambda", title="t", table=None, baseline="x", scale="quick", preset="p", changes={}, protocols=(),
        datasets={}, rows=rows,
    )  # fmt: skip
    write_grid(out, record)
    return record


@pytest.mark.parametrize(
    "changes", [{"status": "fine"}, {"seconds": "x"}, {"reason": 5}, {"results": [5]}, {"results": 5}, {"name": 5}]
)
def test_a_record_of_a_cell_that_makes_no_sense_is_said_beside_the_others(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    for key in "ab":
        run_cell(fake_cell(tmp_path, key))
    grid_of(tmp_path, *"ab")
    path = tmp_path / "cells" / "a" / "cell.json"
    document = json.loads(path.read_text())
    document["stages"][0] |= changes
    path.write_text(json.dumps(document))
    ended = runner.invoke(app, ["status", str(tmp_path)], env={"COLUMNS": "400"})
    assert ended.exit_code == 0, ended.output
    assert f"{path} is no record of a cell".replace(" ", "") in "".join(ended.stdout.split())  # wherever lines break
    assert "1 done, 1 failed" in ended.stdout


@pytest.mark.parametrize("changes", [{"cells": {"zero": "a"}}, {"cells": {"0": 5}}, {"cells": []}, {"name": 5}])
def test_a_record_of_a_grid_that_makes_no_sense_is_one_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    grid_of(tmp_path, "a", "b")
    path = tmp_path / "grids" / "lambda.json"
    document = json.loads(path.read_text())
    document["rows"][1] |= changes
    path.write_text(json.dumps(document))
    ended = runner.invoke(app, ["status", str(tmp_path)])
    assert ended.exit_code == 2, ended.output
    assert f"{path} is no record of a grid" in ended.stderr


def test_status_takes_rows_with_other_seeds(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "a", "b")
    first, second = grid.rows
    write_grid(tmp_path, replace(grid, rows=(first, replace(second, cells={"1": "b"}))))
    ended = runner.invoke(app, ["status", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    assert "2 waiting" in ended.stdout


def test_status_tells_done_failed_running_interrupted_and_waiting_cells(tmp_path: Path) -> None:
    run_cell(fake_cell(tmp_path, "a"))
    run_cell(fake_cell(tmp_path, "b", ending="diverge"))
    for key in "cd":
        stage = StageRecord(name="pretrain", protocol="pretrain", status="running", started=time.time())
        write_cell(tmp_path, CellRecord(key=key, config={}, seed=0, stages=(stage,)))
        run = tmp_path / "cells" / key / "run"
        run.mkdir()
        (run / "status.json").write_text('{"outcome": "running", "step": 0, "steps": 300}')
        (run / "metrics.jsonl").write_text('{"step": 100, "clips": 64, "clips_per_second": 32.0}\n{"st')
    grid = grid_of(tmp_path, *"abcde")
    with cell_lock(tmp_path / "cells" / "c"):
        found = {each.key: each for each in cell_statuses(tmp_path, grid)}
    assert [found[key].status for key in "abcde"] == ["done", "failed", "running", "waiting", "waiting"]
    assert found["b"].reason == "the loss is nan at step 1"
    assert (found["c"].stage, found["c"].step, found["c"].steps) == ("pretrain", 100, 300)
    measured = read_cell(tmp_path, "a")
    assert measured is not None
    assert found["c"].left == pytest.approx(400 + measured.stages[1].seconds)  # 200 steps of two seconds
    assert found["d"].reason == "interrupted"
    shown = runner.invoke(app, ["status", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "1 failed" in shown.stdout


@pytest.mark.parametrize("content", ["[]", "3", '{"step": "1", "steps": [2]}', '{"step": null}', "[" * 100_000, "{"])
def test_a_progress_that_is_none_is_not_shown(tmp_path: Path, content: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "status.json").write_text(content)
    (run / "metrics.jsonl").write_text(f'{content}\n{{"step": 2, "clips": 0, "clips_per_second": "x"}}\n')
    assert pretraining_progress(tmp_path) == (None, None, None)
    for name in ("status.json", "metrics.jsonl"):
        (run / name).unlink()
        os.mkfifo(run / name)
    assert pretraining_progress(tmp_path) == (None, None, None)


def test_work_that_a_cell_was_never_asked_for_is_left_and_named(tmp_path: Path) -> None:
    run_cell(fake_cell(tmp_path, "a"))
    asked = grid_of(tmp_path, "a", "b")
    done = fake_cell(tmp_path, "b")
    run_cell(replace(done, stages=done.stages[:1]))
    found = {each.key: each for each in cell_statuses(tmp_path, asked)}
    measured = read_cell(tmp_path, "a")
    assert measured is not None
    assert (found["b"].status, found["b"].stage) == ("waiting", "measure")
    assert found["b"].left == pytest.approx(measured.stages[1].seconds)


@pytest.mark.usefixtures("resolved")
def test_a_grid_that_slurm_refuses_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sbatch
    grid_of(tmp_path, "a")
    before = (tmp_path / "grids" / "lambda.json").read_bytes()
    ended = runner.invoke(app, ["ablate", "lambda", "--launcher=slurm", f"--out={tmp_path}"])
    assert ended.exit_code == 2, ended.output
    assert "there is no Slurm here" in ended.stderr
    assert (tmp_path / "grids" / "lambda.json").read_bytes() == before


@pytest.mark.usefixtures("resolved")
def test_a_dry_run_looks_at_no_other_cell_and_at_what_is_there(tmp_path: Path) -> None:
    arguments = ["ablate", "sort-modeling", "--dry-run", "--evaluate=retrieval,retrieval", f"--out={tmp_path}"]
    asked = GridRequest(grid=find_grid("sort-modeling"), budget=QUICK, out=tmp_path, protocols=("retrieval",))
    cells = {cell.row: cell for cell in plan(asked).cells}
    for cell in cells.values():
        stages = [
            StageRecord(name=stage.name, protocol=stage.protocol, status="done")
            for stage in cell.job(Resources(device="cpu")).stages
        ]
        write_cell(tmp_path, CellRecord(key=cell.key, config={}, seed=0, stages=tuple(stages)))
    (cells["none"].folder / "cell.json").write_text("{")
    ended = runner.invoke(app, [*arguments, "--only=k_way"])
    assert ended.exit_code == 0, ended.output
    assert "k_way:0" in ended.stdout
    assert "about 0 s" not in ended.output, "its record says done, and its files are gone"
    assert ended.stdout.count("-m tvts_bench retrieval") == 2  # of two data sets, each once


def test_what_was_measured_before_stays_in_the_grid(tmp_path: Path) -> None:
    def row(*stages: str, cells: dict[str, str]) -> RowRecord:
        return RowRecord(name="row", title="row", settings={}, cells=cells, stages=stages)

    stages = [
        StageRecord(name="retrieval-ssv2-1", protocol="retrieval", status="done"),
        StageRecord(name="probe-ssv2-1", protocol="probe", status="done"),
        StageRecord(name="probe-k400-1", protocol="probe", status="failed"),
    ]
    write_cell(tmp_path, CellRecord(key="a", config={}, seed=0, stages=tuple(stages)))
    before = replace(grid_of(tmp_path, "a"), rows=(row(*(stage.name for stage in stages), cells={"0": "a"}),))
    now = replace(before, rows=(row("finetune-ssv2-1", "probe-ssv2-2", cells={"0": "a", "1": "b"}),))
    (kept,) = merge_records(now, before, tmp_path).rows
    assert kept.stages == ("finetune-ssv2-1", "probe-ssv2-2", "retrieval-ssv2-1")
    others = replace(now, rows=(row("finetune-ssv2-1", cells={"0": "c"}),))
    assert merge_records(others, before, tmp_path) == others
    elsewhere = replace(now, datasets={"ssv2": "/videos"})
    assert merge_records(elsewhere, before, tmp_path) == elsewhere


@pytest.mark.slow
def test_ctrl_c_stops_and_says_how_to_go_on(toy: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["ablate", "lambda", "--only=8", "--set=steps=100000", f"--pretrain={toy}", f"--out={out}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tvts_bench", *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not any(log.stat().st_size for log in out.glob("cells/*/run/metrics.jsonl")):  # a step has been made
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, said
    assert "1 cells are left; resume with: tvts-bench ablate lambda --only=8" in said
    assert "Traceback" not in said
    (state,) = out.glob("cells/*/run/checkpoints/last.pt")
    assert state.stat().st_size > 0


@pytest.mark.parametrize(("seconds", "words"), [(None, "?"), (42.4, "42 s"), (754, "13 min"), (12600, "3.5 h")])
def test_durations_are_said_as_people_say_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
