"""Runs started as processes of their own, and what two of them have in common."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from pretrain.run_folder import load_state
from tests.support.tiny_run import preset
from tvts_bench.training.checkpoint import LAST

LONG = ("steps=40", "checkpoint.every_steps=10")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pretrain", *arguments]


def started(folder: Path, workers: int = 0) -> subprocess.Popen[str]:
    """A long run in a process group of its own, as a shell starts it."""
    fixed = (f"out={folder / 'run'}", f"workers={workers}", "threads=1", "log_every=1", "device=cpu")
    arguments = command("run", preset(folder), *fixed, *LONG)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        arguments, text=True, env=one_thread, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    metrics = run / "metrics.jsonl"
    while not (metrics.is_file() and f'"step": {step},' in metrics.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def assert_same_end(run: Path, other: Path) -> None:
    """Weights, optimiser and every logged loss are bit-identical."""
    first, second = (load_state(each / "checkpoints" / LAST) for each in (run, other))
    assert first.step == second.step == 40
    assert all(torch.equal(first.model[name], second.model[name]) for name in first.model)
    for one, two in zip(first.optimizer["state"].values(), second.optimizer["state"].values(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert losses(run) == losses(other)
