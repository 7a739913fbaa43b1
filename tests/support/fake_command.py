"""Stands for tvts-pretrain and tvts-bench where scheduling is tested: starts in milliseconds, saves, resumes, fails.

    fake_command.py train RUN STEPS SECONDS_A_STEP [diverge | kill | memory | hang]
    fake_command.py measure BACKBONE RESULTS

What is trained depends on every step before it, so that a lost or repeated step shows. trace.txt has a line a step.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def train(run: Path, steps: int, pause: float, ending: str) -> None:
    """From the saved state, if there is one, to the end."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    state = run / "checkpoints" / "last.pt"
    state.parent.mkdir(parents=True, exist_ok=True)
    refuse_company(run / "alive")
    step, value = json.loads(state.read_text()) if state.exists() else (0, "")
    while step < steps:
        step += 1
        value = after(value, step)
        time.sleep(pause)
        with (run.parent / "trace.txt").open("a") as trace:
            trace.write(f"{step}\n")
        if ending == "diverge":
            sys.stderr.write(f"training failed: the loss is nan at step {step}\n")
            sys.exit(3)
        if ending == "memory":
            raise MemoryError("an array of 1 TiB")
        if ending == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if ending != "hang":
            write(state, json.dumps([step, value]))
        if asked and ending != "hang":
            sys.exit(128 + asked[0])
    write(run / "backbone.safetensors", value)


def after(value: str, step: int) -> str:
    """What is trained, after one step more."""
    return hashlib.sha256(f"{value} {step}".encode()).hexdigest()


def refuse_company(path: Path) -> None:
    """Leave a mark where another process trains in the same folder."""
    if path.exists() and is_alive(int(path.read_text() or 0)):
        (path.parent.parent / "two at once").touch()
    path.write_text(str(os.getpid()))


def is_alive(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return process > 0 and status.exists() and "\nState:\tZ" not in status.read_text()


def measure(backbone: Path, results: Path) -> None:
    """A result that is a function of the backbone."""
    results.mkdir(parents=True, exist_ok=True)
    write(results / "result.json", json.dumps({"of": backbone.read_text()}))


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    what, first, *rest = sys.argv[1:]
    if what == "train":
        train(Path(first), int(rest[0]), float(rest[1]), rest[2] if len(rest) > 2 else "")
    else:
        measure(Path(first), Path(rest[0]))
