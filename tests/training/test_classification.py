"""Training classifiers: what is stopped is resumed exactly, and nothing is trained on in place of what is missing."""

import csv
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.short_of_space import files_no_longer_than
from tests.support.supervised_world import (
    RECIPE,
    STEADY,
    Normed,
    loader_of,
    settings_of,
    stopping_after,
    tiny_backbone,
    train,
)
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.signals import StoppedError
from tvts_bench.training.checkpoint import TrainingStateError
from tvts_bench.training.classifier import Classifier, backward
from tvts_bench.training.dataloader import ClipBatch, ClipLoader
from tvts_bench.training.metric_logger import STEP_COLUMNS, CurveWriter, NonFiniteLossError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_bit_identical(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("step", [3, 5])  # at the end of an epoch, and within one
def test_a_training_that_was_stopped_and_resumed_is_bit_identical(
    tmp_path: Path, records: Sequence[VideoRecord], step: int
) -> None:
    whole, trained = train(records, tmp_path / "whole")
    with pytest.raises(StoppedError) as stopped:
        train(records, tmp_path / "parts", progress=stopping_after(step))
    assert stopped.value.signal == 15
    assert len(rows(tmp_path / "parts/steps.csv")) == step
    resumed, again = train(records, tmp_path / "parts", resume=True)
    assert_bit_identical(resumed, whole)
    assert again.history == trained.history
    without_speed = [
        [{**row, "clips_per_second": ""} for row in rows(tmp_path / name / "steps.csv")] for name in ("whole", "parts")
    ]
    assert without_speed[0] == without_speed[1]
    assert [row["step"] for row in rows(tmp_path / "parts/epochs.csv")] == ["3", "6", "9"]


def test_workers_that_die_of_the_same_signal_do_not_hide_it(
    tmp_path: Path, records: Sequence[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train(records, tmp_path / "whole")
    batches = ClipLoader.batches

    def dying(self: ClipLoader, start: int, stop: int) -> Iterator[ClipBatch]:
        yield from batches(self, start, 5)
        os.kill(os.getpid(), 15)
        raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(ClipLoader, "batches", dying)
        with pytest.raises(StoppedError):
            train(records, tmp_path / "parts")
    resumed, _ = train(records, tmp_path / "parts", resume=True)  # from the end of the first epoch
    assert_bit_identical(resumed, whole)


def test_sighup_saves_as_sigterm_does_but_not_under_nohup(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    with pytest.raises(StoppedError) as stopped:
        train(records, tmp_path / "run", progress=stopping_after(5, signal.SIGHUP))
    assert stopped.value.signal == signal.SIGHUP
    assert torch.load(tmp_path / "run/last.pt", weights_only=True)["step"] == 5
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _, trained = train(records, tmp_path / "nohup", progress=stopping_after(5, signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(trained.history) == 3


def test_a_disk_that_is_full_from_the_start_ends_a_training_at_its_first_state(
    tmp_path: Path, records: Sequence[VideoRecord]
) -> None:
    with files_no_longer_than(5000), pytest.raises(TrainingStateError, match=r"last\.pt: File too large"):
        train(records, tmp_path / "run")
    assert len(rows(tmp_path / "run/steps.csv")) == 3  # the first epoch


def test_what_killed_trainings_left_is_removed_by_the_next(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".last.pt.{platform.node()}.{dead.pid}.tmp"
    left.write_bytes(b"half of a state")
    elsewhere = tmp_path / ".last.pt.another-node.7.tmp"
    elsewhere.write_bytes(b"half of a state")
    train(records, tmp_path)
    assert not left.exists()
    assert elsewhere.exists()  # nobody here knows whether it is being written


def test_a_finished_training_is_not_trained_again(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    model, _ = train(records, tmp_path)
    state = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(TrainingStateError, match="at step 9 of 9: add --resume"):
        train(records, tmp_path)
    again, trained = train(records, tmp_path, resume=True)
    assert_bit_identical(again, model)
    assert len(trained.history) == 3
    assert (tmp_path / "last.pt").read_bytes() == state


def test_resuming_what_never_began_begins_and_says_so(
    tmp_path: Path, records: Sequence[VideoRecord], caplog: pytest.LogCaptureFixture
) -> None:
    train(records, tmp_path, resume=True)
    assert f"there is no state of this training in {tmp_path}" in caplog.text
    caplog.clear()
    train(records, tmp_path, resume=True)
    assert not caplog.text


def test_the_state_of_another_training_is_refused(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    train(records, tmp_path)
    with pytest.raises(TrainingStateError, match=r"last\.pt is the state of another training"):
        train(records, tmp_path, resume=True, digest="another")
    (tmp_path / "last.pt").write_bytes(b"no state")
    with pytest.raises(TrainingStateError, match=r"last\.pt is not a readable state"):
        train(records, tmp_path, resume=True)
    torch.save({"epoch": 3}, tmp_path / "last.pt")
    with pytest.raises(TrainingStateError, match="not a state that this version"):
        train(records, tmp_path, resume=True)


def test_rows_that_a_crash_damaged_are_left_out_of_the_curves(tmp_path: Path) -> None:
    whole, head = b"1,0.0,0.1,1.5,1.0,9.0\n", ",".join(STEP_COLUMNS).encode() + b"\n"
    (tmp_path / "steps.csv").write_bytes(head + whole + b"\xff\xfe\x00,0.1\n2,0.2,0.1")
    CurveWriter(tmp_path, 5).close()
    assert (tmp_path / "steps.csv").read_bytes() == head + whole


def test_best_weights_that_are_gone_are_missed_before_the_rest_is_trained(
    tmp_path: Path, records: Sequence[VideoRecord]
) -> None:
    measured: list[int] = []

    def measure(model: nn.Module) -> Mapping[str, float]:
        measured.append(len(measured))
        return {"top_1": 50.0, "loss": 1.0}

    with pytest.raises(StoppedError):
        train(records, tmp_path, progress=stopping_after(5), measure=measure)
    (tmp_path / "best.pt").write_bytes(b"half of it")
    with pytest.raises(TrainingStateError, match=r"best\.pt is not a readable state"):
        train(records, tmp_path, resume=True, measure=measure)
    (tmp_path / "best.pt").unlink()
    with pytest.raises(TrainingStateError, match=r"there is no state .*best\.pt"):
        train(records, tmp_path, resume=True, measure=measure)
    assert measured == [0]  # no epoch more


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    with pytest.raises(NonFiniteLossError, match=r"at step \d \(epoch 0\.\d, learning rate .*lower the learning rate"):
        train(records, tmp_path, replace(STEADY, optimizer="sgd", base_lr=1e38))
    assert not (tmp_path / "last.pt").exists()  # nothing was whole
    assert any(
        row["loss"] in ("nan", "inf") or row["gradient_norm"] in ("nan", "inf") for row in rows(tmp_path / "steps.csv")
    )


def test_the_best_epoch_is_the_first_with_the_highest_top_1_and_the_lowest_loss(
    tmp_path: Path, records: Sequence[VideoRecord]
) -> None:
    answers = iter([(50.0, 0.9), (60.0, 0.8), (60.0, 0.7), (60.0, 0.7), (55.0, 0.1)])
    seen: list[Tensor] = []

    def measure(model: nn.Module) -> Mapping[str, float]:
        assert isinstance(model, Classifier)
        seen.append(model.head.weight.detach().clone())
        top_1, loss = next(answers)
        return {"top_1": top_1, "loss": loss}

    model, trained = train(records, tmp_path, replace(RECIPE, epochs=5), measure=measure)
    assert (trained.epoch, trained.epochs) == (3, 5)
    assert torch.equal(model.head.weight, seen[2])  # the averaged weights, which were measured
    assert not model.training
    assert [record["measured_top_1"] for record in trained.history] == [50, 60, 60, 60, 55]


def test_measuring_changes_no_weight(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    train(records, tmp_path / "plain")
    train(records, tmp_path / "looked", measure=lambda model: {"top_1": 1.0, "loss": -float(id(model))})
    first, second = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("plain", "looked")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_averaged_weights_are_those_tested(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    model, _ = train(records, tmp_path, replace(STEADY, ema=0.9))
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert torch.equal(model.head.weight, state["average"]["head.weight"])
    assert not torch.equal(model.head.weight, state["model"]["head.weight"])


def test_training_leaves_the_callers_backbone_and_generators_alone(
    tmp_path: Path, records: Sequence[VideoRecord]
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbone = tiny_backbone()
    model = Classifier(backbone, 3, frozen=False)
    backward(model, next(loader_of(records, STEADY).batches(0, 1)), 0, settings_of(STEADY))
    torch.manual_seed(5)
    train(records, tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert_bit_identical(backbone, tiny_backbone())
    assert all(weight.grad is None for weight in backbone.parameters())


def test_a_probe_trains_the_head_alone(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    model, _ = train(records, tmp_path, replace(STEADY, layer_decay=1.0), frozen=True)
    assert_bit_identical(model.backbone, tiny_backbone())
    assert float(model.head.weight.detach().abs().max()) > 1e-3
    saved = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    assert set(saved) == {"weight", "bias"}


def test_unreadable_training_clips_are_left_out_and_named_also_after_a_stop(
    tmp_path: Path, records: Sequence[VideoRecord]
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    broken = [*records, VideoRecord(id="broken", path=tmp_path / "broken.mp4", label=0)]
    recipe = replace(RECIPE, max_failures=0.1)
    with pytest.raises(StoppedError):
        train(broken, tmp_path / "run", recipe, progress=stopping_after(8))
    _, trained = train(broken, tmp_path / "run", recipe, resume=True)
    assert set(trained.failed) == {"broken"}
    assert "broken.mp4" in trained.failed["broken"]
    with pytest.raises(UserError, match=r"broken\.mp4"):
        train(broken, tmp_path / "strict", replace(recipe, max_failures=0.0))


def test_batch_norms_are_not_trained_on_what_is_no_batch(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    """A clip whose partner is unreadable is trained on with the statistics there are; no recipe of single clips is."""
    recipe = replace(STEADY, batch_size=2, layer_decay=1.0, epochs=2, max_failures=0.2, ema=None)
    (tmp_path / "broken.mp4").write_text("no video")
    broken = [*records[:-1], replace(records[-1], path=tmp_path / "broken.mp4")]
    model, trained = train(broken, tmp_path / "run", recipe, backbone=Normed(nn.BatchNorm1d(3)))
    assert len(trained.failed) == 1
    norm = model.get_submodule("backbone.norm")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.num_batches_tracked == 2 * 6 - 2  # in either epoch one of six batches held one clip
    with pytest.raises(UserError, match=r"batch norms, which need several clips at once, and a batch of 1 in 1 proc"):
        train(records, tmp_path / "one", replace(recipe, batch_size=1), backbone=Normed(nn.BatchNorm1d(3)))


def test_two_gloo_processes_take_the_steps_of_one(tmp_path: Path, records: Sequence[VideoRecord]) -> None:
    """Whatever is drawn, two processes do what one does at once.

    And both measure the same model, also where a batch norm remembers the clips it saw.
    """
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [*launcher, "-m", "tests.support.train_on_ranks", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    drawn, _ = train(records, tmp_path / "one-drawn", replace(RECIPE, epochs=1, warmup_epochs=0.0))
    steady, _ = train(records, tmp_path / "one-steady", replace(STEADY, epochs=1, warmup_epochs=0.0))
    for name, one in (("drawn", drawn), ("steady", steady)):
        two = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        for weight, value in one.state_dict().items():
            torch.testing.assert_close(two[weight], value, rtol=1e-3, atol=1e-5, msg=f"{name} {weight}")
        # AdamW's steps are the same for a gradient of any scale: its norm is what tells a mean from a sum.
        alone, together = (rows(tmp_path / f"{count}-{name}/steps.csv") for count in ("one", "two"))
        for column in ("lr", "loss", "gradient_norm"):
            expected = [float(row[column]) for row in alone]
            assert [float(row[column]) for row in together] == pytest.approx(expected, rel=1e-4), (name, column)
    assert len(rows(tmp_path / "two-drawn/steps.csv")) == 3  # written once
    first, second = (torch.load(tmp_path / f"normed-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert {name: mean.tolist() for name, mean in first.items()} == {
        name: mean.tolist() for name, mean in second.items()
    }
    assert torch.equal(first["measured"], first["last"])
    for rank in (0, 1):
        assert "2 processes cannot train this backbone" in (tmp_path / f"idle-{rank}.txt").read_text()
