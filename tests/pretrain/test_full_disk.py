"""A disk that is full, for a while or from the start."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.run_folder import State, load_state, read_status
from pretrain.runs import begin, resume
from tests.support.short_of_space import files_no_longer_than
from tests.support.tiny_run import tiny
from tvts_bench.training.checkpoint import BEST, LAST, TrainingStateError, save_checkpoint
from tvts_bench.training.trainer import Trainer


def a_state(step: int) -> State:
    return State(step=step, model={"w": torch.ones(3)}, optimizer={}, digest="d", world_size=1)


def test_a_full_disk_leaves_the_state_before(tmp_path: Path) -> None:
    path = tmp_path / BEST
    save_checkpoint(path, a_state(1))
    with files_no_longer_than(1000), pytest.raises(TrainingStateError) as full:
        save_checkpoint(path, a_state(2))
    assert str(full.value) == f"cannot write {path}: File too large; the state saved before stays in {path}"
    assert load_state(path).step == 1
    assert [each.name for each in tmp_path.iterdir()] == [BEST]


def test_a_disk_that_is_full_for_a_while_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the end, where the state has to be written: then the one before is what is left."""
    save, sizes = Trainer.save, [None, 1000, 1000, 1000]

    def short_of_space(self: Trainer[Any], *, required: bool) -> None:
        size = sizes.pop(0)
        with files_no_longer_than(size) if size else nullcontext():
            save(self, required=required)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", short_of_space)
        with pytest.raises(TrainingStateError, match=r"last\.pt: File too large; the state saved before stays"):
            begin(*tiny(tmp_path, "steps=4", "checkpoint.every_steps=1"))
    assert caplog.text.count("training continues") == 2
    assert load_state(tmp_path / "run/checkpoints" / LAST).step == 1
    assert read_status(tmp_path / "run")["outcome"] == "failed"
    resume(tmp_path / "run")
    assert read_status(tmp_path / "run")["outcome"] == "finished"


def test_a_disk_that_is_full_from_the_start_ends_a_run_at_its_first_state(tmp_path: Path) -> None:
    """Not after the last step, when nothing of it could be kept."""
    begin(*tiny(tmp_path, "steps=1"))
    size = (tmp_path / "run/checkpoints" / LAST).stat().st_size
    with files_no_longer_than(size // 2), pytest.raises(TrainingStateError, match=r"last\.pt: File too large"):
        begin(*tiny(tmp_path / "full", "steps=9", "checkpoint.every_steps=2"))
    status = read_status(tmp_path / "full/run")
    assert (status["outcome"], status["step"]) == ("failed", 2)
    resume(tmp_path / "full/run")
    assert read_status(tmp_path / "full/run")["outcome"] == "finished"
