"""Two processes take the steps that one takes with the double batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pretrain.run_folder import load_state
from pretrain.runs import begin
from tests.support.tiny_run import preset, tiny
from tvts_bench.training.checkpoint import LAST

SAME = ("steps=4", "text.dropout=0", "seed=3")


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_gloo_processes_give_the_losses_of_one_with_the_whole_batch(tmp_path: Path, accumulate: int) -> None:
    begin(*tiny(tmp_path / "one", *SAME))
    places = (f"out={tmp_path / 'two/run'}", "workers=0", "log_every=1", "device=cpu")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run = ("-m", "pretrain", "run", preset(tmp_path / "two"), *places, *SAME, f"optim.accumulate={accumulate}")
    done = subprocess.run(
        [*launcher, *run], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("written: ") == 1  # of the ranks, one speaks
    one, two = losses(tmp_path / "one/run"), losses(tmp_path / "two/run")
    assert len(two) == 4
    assert two == pytest.approx(one, rel=1e-4)
    first, second = (load_state(tmp_path / name / "run/checkpoints" / LAST).model for name in ("one", "two"))
    for name, weight in first.items():  # AdamW's first steps are as large for a gradient of 1e-8 as for one of 1
        if not name.endswith("k_lin.bias"):  # softmax does not see it: its gradient is rounding alone
            torch.testing.assert_close(second[name], weight, rtol=1e-2, atol=2e-4, msg=name)
