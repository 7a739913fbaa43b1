"""The command line: exit codes and sentences."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.run_folder import read_status
from tests.support.tiny_run import preset

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "scripted_motion_tny"], "unknown preset 'scripted_motion_tny' (did you mean scripted_motion_tiny"),
        (["run", "scripted_motion_tiny", "stpes=4"], "unknown key 'stpes' (did you mean steps"),
        (["run", "scripted_motion_tiny", "steps=few"], "steps must be a whole number, got 'few'"),
        (["run", "scripted_motion_tiny", "out={full}"], "is not an empty folder; give another out="),
        (["run", "yt_temporal"], "source yt_temporal needs root"),
        (
            ["run", "yt_temporal", "root={full}/no", "init.mae=null", "text.name=null", "out={new}"],
            "there is no folder",
        ),
        (["run", "scripted_motion_tiny", "init.mae=/no/mae.pth", "out={new}"], "facebookresearch/mae"),
        (["run", "yt_temporal", "root={full}/no", "out={new}"], "or init.mae=null to start without it"),
        (["run", "scripted_motion_tiny", "device=tpu", "out={new}"], "unknown device 'tpu'"),
        (["resume", "{full}"], "holds no run of tvts-pretrain"),
        (["resume", "{new}"], "holds no run of tvts-pretrain"),
        (["export", "{full}"], "holds no run of tvts-pretrain"),
        (["export", "{full}", "--format", "onnx"], "--format must be one of safetensors, official, got 'onnx'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").touch()
    places = {"full": tmp_path / "full", "new": tmp_path / "new"}
    result = runner.invoke(app, [argument.format(**places) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_a_folder_with_a_run_is_not_begun_again(uninterrupted: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={uninterrupted}"])
    assert result.exit_code == 2
    assert f"tvts-pretrain resume {uninterrupted}" in result.output


def test_a_diverged_run_ends_with_3(tmp_path: Path) -> None:
    wild = ("lr=1e30", "optim.warmup=0", "optim.clip_grad=null", f"out={tmp_path / 'run'}", "workers=0")
    result = runner.invoke(app, ["run", preset(tmp_path), *wild])
    assert result.exit_code == 3
    assert "training failed" in result.output
    assert read_status(tmp_path / "run")["outcome"] == "failed"


def test_presets_are_listed_with_their_lines() -> None:
    result = runner.invoke(app, ["presets"])
    assert result.exit_code == 0
    assert "scripted_motion_tiny" in result.output
    assert "two CPU cores" in result.output


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, pretrain.cli; print([n for n in ('torch', 'transformers', 'pandas', 'av') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
