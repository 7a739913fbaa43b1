"""`tvts-bench probe` as a user meets it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command_line import Run
from tests.support.plain_videos import write_plain_video

PROBE = ("probe", "--backbone", "pixels", "--dataset", "folder", "--workers", "0", "--dtype", "fp32", "--epochs", "5")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Run()


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """train/ and val/ with red and blue videos; the same names in both."""
    for split, count, shift in (("train", 6, 0), ("val", 3, 5)):
        for shade in range(count):
            value = 180 + 10 * shade + shift
            write_plain_video(tmp_path / "videos" / split / "red" / f"{shade}.mp4", (value, 20, 20))
            write_plain_video(tmp_path / "videos" / split / "blue" / f"{shade}.mp4", (20, 20, value))
    return tmp_path / "videos"


def test_probe_prints_a_table_and_writes_everything(run: Run, splits: Path, tmp_path: Path) -> None:
    result = run(*PROBE, "--root", str(splits), "--out", "out")
    assert result.exit_code == 0, result.output
    for words in ("k-NN", "logistic regression", "linear", "top-1", "mean class accuracy", "95 % interval", "chance"):
        assert words in result.stdout
    assert "…" not in result.stdout  # the table fits a terminal of 80 columns
    assert "touched once" in result.stdout
    (document,) = (tmp_path / "out").glob("*.json")
    assert {metric["value"] for metric in json.loads(document.read_text())["metrics"]} == {100}
    assert set(pd.read_csv(document.with_suffix(".per_class.csv"))["class"]) == {"red", "blue"}
    assert document.with_suffix(".confusion.linear.png").read_bytes().startswith(b"\x89PNG")


def test_options_reach_the_record(run: Run, splits: Path, tmp_path: Path) -> None:
    options = ("--head", "linear", "--head", "knn", "--per-class", "4", "--seed", "3", "--seeds", "2", "--json")
    result = run(*PROBE, "--root", str(splits), *options, "--solver", "torch")
    assert result.exit_code == 0, result.output
    evaluator = json.loads(result.stdout)["run"]["evaluator"]
    assert evaluator["heads"] == ["linear", "knn"]
    assert evaluator["low_label"] == {"type": "LowLabel", "fraction": None, "per_class": 4}
    assert evaluator["seeds"] == [3, 4]
    assert evaluator["settings"]["linear"]["epochs"] == 5
    assert evaluator["settings"]["logistic"]["solver"] == "torch"


def test_a_terminal_of_80_columns_cuts_no_number_of_several_seeds(run: Run, splits: Path) -> None:
    result = run(
        *PROBE, "--root", str(splits), "--head", "logistic", "--head", "linear", "--per-class", "4", "--seeds", "2"
    )
    assert result.exit_code == 0, result.output
    assert "100.0 - 100.0" in result.stdout
    assert "sd of seeds" in result.stdout
    assert "…" not in result.stdout


def test_epochs_are_those_of_every_head_that_has_some(run: Run, splits: Path) -> None:
    small = ("--backbone", "tvts:tiny", "--frames", "4", "--head", "attentive", "--json")
    result = run(*PROBE, "--root", str(splits), *small)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["run"]["evaluator"]["settings"]["attentive"]["epochs"] == 5
    assert any("5 epochs of batch" in line for line in document["protocol"])
    assert "--epochs has no meaning with --head knn" in run.refused(*PROBE, "--root", str(splits), "--head", "knn")


def test_shared_clips_need_a_word(run: Run, splits: Path) -> None:
    shutil.copy(splits / "train" / "red" / "0.mp4", splits / "val" / "red" / "0.mp4")
    assert "1 of 6 clips of folder val are also in train: red/0.mp4" in run.refused(*PROBE, "--root", str(splits))
    result = run(*PROBE, "--root", str(splits), "--allow-shared-clips")
    assert result.exit_code == 0, result.output
    assert "1 of 6 test clips are also trained on" in result.stdout


def test_a_class_with_no_training_clip_is_named(run: Run, splits: Path) -> None:
    write_plain_video(splits / "val" / "green" / "0.mp4", (20, 200, 20))
    assert "train of folder has no clip of 1 of the 3 classes, as 1 of val are: green" in run.refused(
        *PROBE, "--root", str(splits)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--protocol", "fast"), "--protocol must be cached or paper, got 'fast'"),
        (("--head", "svm"), "'svm'"),
        (("--solver", "liblinear"), "'liblinear'"),
        (("--fraction", "2"), "--fraction"),
        (("--fraction", "0.5", "--per-class", "4"), "one of --fraction and --per-class"),
        (("--split", "test"), "no split 'test'"),
        (("--train-split", "all"), "no split 'all' to train on"),
        (("--split", "train"), "cannot be tested on its own split 'train'"),
        (("--habit", "paper"), "--habit has no meaning with --protocol cached"),
        (("--total-batch", "5"), "--total-batch has no meaning with --protocol cached"),
        (("--protocol", "paper", "--head", "knn"), "--head has no meaning with --protocol paper"),
        (("--protocol", "paper", "--per-class", "4"), "--per-class has no meaning"),
        (("--protocol", "paper", "--seeds", "2"), "--seeds has no meaning"),
        (("--protocol", "paper", "--habit", "papers"), "did you mean paper"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, splits: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run.refused(*PROBE, "--root", str(splits), *arguments)


def test_a_folder_without_splits_says_how_to_make_them(run: Run, splits: Path) -> None:
    assert "has no split 'train' to train on (it has: all)" in run.refused(*PROBE, "--root", str(splits / "train"))


def test_the_papers_protocol_is_another_result(run: Run, splits: Path) -> None:
    arguments = ("--protocol", "paper", "--habit", "no-augmentation", "--views", "1x1", "--json", "--out", "out")
    small = (*PROBE[:-2], "--recipe", "scripted_motion:ssv2", "--epochs", "3", "--total-batch", "5")
    result = run(*small, "--root", str(splits), *arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["run"]["evaluator"]["name"] == "online_probe"
    assert document["run"]["evaluator"]["recipe"]["epochs"] == 3
    assert document["run"]["evaluator"]["recipe"]["precision"] == "fp32"
    assert {metric["condition"] for metric in document["metrics"]} == {"linear, online"}
