"""What may and may not differ when a run is resumed, and states on disk that are of no use."""

import platform
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.run_folder import alone, load_state, open_run, read_status
from pretrain.runs import begin, resume
from tests.support.tiny_run import tiny
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.training.checkpoint import LAST, TrainingStateError, save_checkpoint

runner = CliRunner()


def test_resuming_what_is_finished_changes_nothing(tmp_path: Path, uninterrupted: Path) -> None:
    before = (uninterrupted / "checkpoints" / LAST).read_bytes()
    resume(uninterrupted)
    state = load_state(uninterrupted / "checkpoints" / LAST)
    (tmp_path / "x").write_bytes(before)
    assert all(torch.equal(value, state.model[name]) for name, value in load_state(tmp_path / "x").model.items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [("lr=1", "optim.lr differs from the run"), ("data.sources.0.weight=2", "data.sources.0.weight differs")],
)
def test_another_configuration_is_refused_on_resume(uninterrupted: Path, change: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resume(uninterrupted, [change])


def test_another_batch_size_is_allowed_on_resume_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    resume(tmp_path / "run", ["batch_size=2"])
    assert "changed on resume: data.batch_size" in caplog.text
    resume(tmp_path / "run")  # the change is kept, and is no longer one


def test_what_changes_no_weight_may_change_on_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=2"))
    resume(tmp_path / "run", ["collapse_after=9", "checkpoint.every_steps=3", "validation.samples=8"])
    assert "changed on resume: checkpoint.every_steps, collapse_after, validation.samples" in caplog.text
    with pytest.raises(UserError, match=r"is resumed in its own folder, .*run, not in /else"):
        resume(tmp_path / "run", ["out=/else"])


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=1"))
    config = (tmp_path / "run/config.yaml").read_text()
    with alone(tmp_path / "run", Rank()), pytest.raises(UserError, match="another process is training in"):
        resume(tmp_path / "run", ["batch_size=2"])
    assert (tmp_path / "run/config.yaml").read_text() == config


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.yaml", b"a: [", "config.yaml, line 1: not YAML"),
        ("config.yaml", b"\xff\xfe\x00", "it is not UTF-8 text"),
        ("place.yaml", b"a: [", "place.yaml, line 1: not YAML"),
        ("place.yaml", b"nope: 1", "place.yaml: unknown key 'nope'"),
        ("tokenizer.json", b"{", "tokenizer.json is not a tokenizer"),
        ("checkpoints/last.pt", b"", "is not a readable state of a training: damaged or another kind of file"),
    ],
)
def test_damaged_files_of_a_run_are_named(
    uninterrupted: Path, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    (run / name).write_bytes(content)
    result = runner.invoke(app, ["resume", str(run)])
    assert result.exit_code == 2, result.output
    assert sentence in result.output


def test_a_run_killed_right_after_a_change_on_resume_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    folder = tmp_path / "run"
    state = load_state(folder / "checkpoints" / LAST)
    before = open_run(folder)[0].digest  # as states were known by before there was a lineage
    save_checkpoint(folder / "checkpoints" / LAST, replace(state, step=2, digest=before))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pretrain.runs.write_config", killed)  # after the state, before the configuration
        with pytest.raises(KeyboardInterrupt):
            resume(folder, ["batch_size=2"])
    with monkeypatch.context() as patched:
        patched.setattr("pretrain.runs._train", killed)  # after both, before the first step
        with pytest.raises(KeyboardInterrupt):
            resume(folder, ["batch_size=2"])
    resume(folder)
    assert read_status(folder)["outcome"] == "finished"


def test_another_world_size_and_other_data_are_said_on_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=2"))
    path = tmp_path / "run/checkpoints" / LAST
    state = load_state(path)
    assert state.sizes == [100_000]
    save_checkpoint(path, replace(state, world_size=4, sizes=[90_000], counts={"start_redrawn": 7}))
    resume(tmp_path / "run")
    assert "the run had 4 processes and has 1 now" in caplog.text
    assert "has 100000 samples and had 90000" in caplog.text
    assert load_state(path).counts == {"start_redrawn": 7}  # the whole run's, not the last part's


def test_a_state_of_before_these_facts_were_kept_is_read(tmp_path: Path) -> None:
    content = {"step": 1, "model": {}, "optimizer": {}, "digest": "d", "world_size": 1, "alike": 3}
    torch.save({"format": 1, "best": None, "measured": None, **content}, tmp_path / LAST)
    assert (load_state(tmp_path / LAST).sizes, load_state(tmp_path / LAST).collapsed_steps) == ([], 3)


def test_a_state_of_another_configuration_is_refused(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.002", 1))
    with pytest.raises(UserError, match="belongs to another configuration"):
        resume(tmp_path / "run")


def test_what_killed_runs_left_of_their_states_is_removed_by_the_next(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=1"))
    folder = tmp_path / "run/checkpoints"
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [folder / f".last.pt.{platform.node()}.{dead.pid}.tmp", folder / ".last.pt.another-node.7.tmp"]
    for path in left:
        path.write_bytes(b"half of a state")
    (folder / ".mine.tmp").write_bytes(b"another's")
    resume(tmp_path / "run")
    assert {path.name for path in folder.iterdir()} == {LAST, ".mine.tmp"}


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingStateError, match="there is no state"):
        load_state(tmp_path / LAST)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(TrainingStateError, match="not a readable state"):
        load_state(tmp_path / "text")
    torch.save({"state_dict": {}}, tmp_path / "other")
    with pytest.raises(TrainingStateError, match="not a state that this version"):
        load_state(tmp_path / "other")
