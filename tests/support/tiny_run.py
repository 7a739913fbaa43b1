"""A run small enough for tests: seconds for hundreds of steps, every part of the real thing."""

import json
from pathlib import Path
from typing import Any

from pretrain.config import LaunchConfig, RunConfig, compose

PRESET = """
description: for tests
steps: 10
video: {embed_dim: 32, depth: 1, num_heads: 2, image_size: 32, patch_size: 16, num_frames: 4}
text: {name: null, dim: 32, depth: 1, num_heads: 2, max_tokens: 24, dropout: 0.1}
model: {mask: 0.25, projection_dim: 16}
objective: {segments: 2}
data:
  batch_size: 4
  lengths: [3.0]
  sources: [{kind: scripted_motion_drawn, frames: 4}]
  crop: {size: 32, short_side: 36}
optim: {lr: 1.0e-3, schedule: cosine, warmup: 0.2, clip_grad: 1.0}
checkpoint: {every_steps: 4}
"""


def preset(folder: Path) -> str:
    """The path of the preset, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(PRESET)
    return str(path)


def tiny(folder: Path, *assignments: str) -> tuple[RunConfig, LaunchConfig]:
    """The run in `folder`/run, read and drawn in this process."""
    fixed = (f"out={folder / 'run'}", "workers=0", "threads=1", "log_every=1", "device=cpu")
    return compose(preset(folder), [*fixed, *assignments])


def records(run: Path, kind: str = "loss") -> list[dict[str, Any]]:
    """The lines of a run's log with something of that kind."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in line]
