"""`tvts-bench finetune` as a user meets it: tables and files, what it refuses, how it is stopped and taken up again."""

import json
import signal
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from tests.support.plain_videos import write_plain_video
from tests.support.supervised_world import stopping_after
from tvts_bench.cli.main import app
from tvts_bench.training.presets import FINETUNE

SMALL = ("--backbone", "tvts:tiny", "--frames", "4", "--workers", "0", "--recipe", "scripted_motion:ssv2")
QUICK = (*SMALL, "--epochs", "2", "--total-batch", "4", "--views", "1x1", "--dtype", "fp32")


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders train and val, each with six videos in red and in blue."""
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for number, split in enumerate(("train", "val")):
        for shade in range(6):
            tone = 140 + 10 * shade + 5 * number
            write_plain_video(tmp_path / "videos" / split / "red" / f"{shade}.mp4", (tone, 20, 20))
            write_plain_video(tmp_path / "videos" / split / "blue" / f"{shade}.mp4", (20, 20, tone))
    return tmp_path / "videos"


def finetune(videos: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["finetune", "--dataset", "folder", "--root", str(videos), *QUICK, *arguments])


def refused(videos: Path, *arguments: str) -> str:
    """The one sentence of a command that must end with exit code 2."""
    result = finetune(videos, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("error: ") == 1, result.stderr
    assert "Traceback" not in result.output
    return result.stderr


def test_a_table_is_printed_and_everything_written(videos: Path, tmp_path: Path) -> None:
    result = finetune(videos, "--out", "out")
    assert result.exit_code == 0, result.output
    for words in (
        "Fine-tuning on folder",
        "fine-tuned",
        "top-1",
        "chance",
        "12 of 12 clips used",
        "held-out clips of train",
    ):
        assert words in result.stdout
    (document,) = (tmp_path / "out").glob("*.json")
    saved = json.loads(document.read_text())
    recipe = saved["run"]["evaluator"]["recipe"]
    preset = FINETUNE["scripted_motion:ssv2"]
    assert recipe["epochs"] == 2
    assert recipe["warmup_epochs"] / 2 == pytest.approx(preset.warmup_epochs / preset.epochs)
    assert len(pd.read_parquet(document.with_suffix(".logits.parquet"))) == 12
    assert list(pd.read_parquet(document.with_suffix(".curves.parquet"))["epoch"]) == [1, 2]
    for suffix in (".per_class.csv", ".confusion.csv", ".confusion.fine-tuned.png", ".csv", ".md"):
        assert document.with_suffix(suffix).exists(), suffix
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {"last.pt", "best.pt", "steps.csv", "epochs.csv", "tensorboard"}


def test_the_same_command_again_says_how_to_go_on(videos: Path) -> None:
    assert finetune(videos).exit_code == 0
    assert "add --resume" in refused(videos)
    again = finetune(videos, "--resume", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["metrics"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--total-batch", "100"), "fewer than one batch of 100"),
        (("--accumulate", "3"), "make it a multiple of 3"),
        (("--recipe", "ssv3"), "did you mean ssv2"),
        (("--habit", "papper"), "did you mean paper"),
        (("--best", "first"), "'first'"),
        (("--average", "votes"), "'votes'"),
        (("--views", "2by3"), "'2by3'"),
        (("--sampling", "random"), "'random'"),
        (("--stride", "2"), "--sampling dense"),
        (("--lr", "-1"), "-1"),
        (("--lr", "inf"), "finite, got inf"),
        (("--layer-decay", "2"), "layer_decay"),
        (("--drop-path", "1"), "drop_path"),
        (("--warmup-epochs", "9"), "warmup_epochs"),
        (("--split", "all"), "'all'"),
        (("--train-split", "val"), "val"),
        (("--train-split", "test"), "test"),
        (("--frames", "5"), "5"),
        (("--out", "a_file/results"), "--out"),
        (("--lr", "1e38", "--warmup-epochs", "0"), "lower the learning rate"),
    ],
)
def test_bad_input_is_one_sentence(videos: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "a_file").write_text("in the way")
    assert words in refused(videos, *arguments)


def test_the_mean_of_three_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    lists = tmp_path / "ucf" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Red\n2 Blue\n")
    names = {}
    for number, (kind, colour) in enumerate({"Red": (200, 20, 20), "Blue": (20, 20, 200)}.items(), 1):
        for group in range(1, 7):
            name = f"{kind}/v_{kind}_g{group:02d}_c01.avi"
            write_plain_video(tmp_path / "ucf" / "UCF-101" / name, [value + group for value in colour])
            names[name] = (group, number)
    for fold in (1, 2, 3):
        tested = (2 * fold - 1, 2 * fold)
        train = [f"{name} {number}\n" for name, (group, number) in names.items() if group not in tested]
        test = [f"{name}\n" for name, (group, _) in names.items() if group in tested]
        (lists / f"trainlist{fold:02d}.txt").write_text("".join(train))
        (lists / f"testlist{fold:02d}.txt").write_text("".join(test))
    data = ("--dataset", "ucf101", "--root", str(tmp_path / "ucf"), "--out", str(tmp_path / "out"))
    result = CliRunner().invoke(app, ["finetune", *data, *QUICK, "--epochs", "1", "--split", "all"])
    assert result.exit_code == 0, result.output
    written = {json.loads(path.read_text())["run"]["dataset"]["name"] for path in (tmp_path / "out").glob("*.json")}
    assert written == {"ucf101", "ucf101-fold1", "ucf101-fold2", "ucf101-fold3"}
    assert "mean over 3 official splits" in result.stdout
    more = (*QUICK, "--epochs", "1", "--split", "all")
    again = CliRunner().invoke(app, ["finetune", *data, *more, "--resume", "--json"])
    assert json.loads(again.stdout)["run"]["dataset"]["name"] == "ucf101"  # one document: that of the mean
    both = CliRunner().invoke(app, ["finetune", *data, *more, "--fold", "2"])
    assert both.exit_code == 2
    assert "leave one of the two out" in both.stderr


def test_sigterm_leaves_a_state_that_resume_goes_on_with(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tvts_bench.cli.setup.progress_bar", stopping_after(3))
        stopped = finetune(videos)
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command with --resume resumes it" in stopped.stderr
    assert "at step 3 of 4" in refused(videos)
    assert finetune(videos, "--resume").exit_code == 0
