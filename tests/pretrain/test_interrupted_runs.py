"""A run that is stopped or killed ends as an uninterrupted one, bit-identical."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.model.tvts import TVTS
from pretrain.run_folder import load_state, read_status
from pretrain.runs import begin, resume
from tests.support.started_runs import LONG, assert_same_end, command, started, wait_for_step
from tests.support.tiny_run import preset, tiny
from tvts_bench.errors import UserError
from tvts_bench.training.checkpoint import LAST

runner = CliRunner()


def test_a_run_killed_between_states_ends_bit_identical(tmp_path: Path, uninterrupted: Path) -> None:
    process = started(tmp_path)
    wait_for_step(tmp_path / "run", 13, process)
    process.kill()
    process.wait()
    assert load_state(tmp_path / "run/checkpoints" / LAST).step < 40
    assert read_status(tmp_path / "run")["outcome"] == "running"
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", uninterrupted)


def test_ctrl_c_reaches_loading_processes_too_and_yet_all_is_saved(tmp_path: Path, uninterrupted: Path) -> None:
    process = started(tmp_path, workers=1)
    wait_for_step(tmp_path / "run", 3, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, said
    assert f"tvts-pretrain resume {tmp_path / 'run'}" in said
    assert "Traceback" not in said
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"
    assert 3 <= load_state(tmp_path / "run/checkpoints" / LAST).step < 40
    resume(tmp_path / "run", ["workers=0"])  # who loads the data changes nothing
    assert_same_end(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_after_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """SIGHUP is what a terminal or a connection leaves behind that is gone."""
    forward, calls = TVTS.forward, []

    def told(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(TVTS, "forward", told)
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={tmp_path / 'run'}", "workers=0", "threads=1"])
    assert result.exit_code == code, result.output
    assert f"stopped by {number.name}" in result.output
    assert load_state(tmp_path / "run/checkpoints" / LAST).step == 3
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"


def test_a_terminal_that_is_gone_costs_no_step(tmp_path: Path) -> None:
    """Its end sends SIGHUP to all processes of the run, loading ones too, and nothing can be printed any more."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    settings = ("steps=5000", f"out={tmp_path / 'run'}", "workers=1", "threads=1", "log_every=1", "device=cpu")
    process = subprocess.Popen(
        command("run", preset(tmp_path), *settings),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    metrics = tmp_path / "run/metrics.jsonl"
    while not (metrics.is_file() and '"step": 3,' in metrics.read_text()):
        assert process.poll() is None
        with suppress(BlockingIOError):
            os.read(master, 1 << 16)  # as a terminal does, lest the run waits for it
        time.sleep(0.01)
    os.close(master)
    assert process.wait(120) == 128 + signal.SIGHUP
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"
    assert 3 <= load_state(tmp_path / "run/checkpoints" / LAST).step < 5000


def test_a_run_that_could_not_begin_may_be_begun_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        begin(*tiny(tmp_path, "init.mae=/no/mae.pth"))
    begin(*tiny(tmp_path, "steps=1"))
    assert read_status(tmp_path / "run")["outcome"] == "finished"


def test_a_run_killed_before_its_first_state_begins_again(tmp_path: Path, uninterrupted: Path) -> None:
    begin(*tiny(tmp_path, *LONG))
    (tmp_path / "run/checkpoints" / LAST).unlink()
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", uninterrupted)


def test_ctrl_c_before_the_first_step_names_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pretrain.runs.build_sources", impatient)
    out = tmp_path / "run"
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={out}", "steps=1"])
    assert result.exit_code == 130
    assert f"resume from what was saved with: tvts-pretrain resume {out}" in " ".join(result.output.split())
    assert read_status(out)["outcome"] == "interrupted"
    monkeypatch.undo()
    assert runner.invoke(app, ["resume", str(out)]).exit_code == 0
