"""What a run leaves to be read: `metrics.jsonl` (one line a step), TensorBoard, and `status.json` (how it ended).

{"step": 12, "lr": 0.001, "loss": 9.1, "base": 6.2, "sort": 1.4, "order_accuracy": 6.2, "chance": {...}, ...}
{"step": 500, "validation": {"position_accuracy": 31.2, "recall_at_1": 12.0, ...}, "chance": {...}}
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tvts_bench.atomic import whole_file

METRICS, STATUS = "metrics.jsonl", "status.json"
Outcome = Literal["running", "finished", "interrupted", "failed"]


class RunLog:
    """Writes a run's records; does nothing where `active` is off (all ranks but the first)."""

    def __init__(self, folder: Path, start: int, active: bool = True) -> None:
        """Take up the log of `folder` at step `start`: records of later steps, which will come again, are dropped."""
        self._folder, self._file, self._board = folder, None, None
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        path = folder / METRICS
        kept = [line for line in _lines(path) if _step_of(line) <= start]
        with whole_file(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record, which has a "step"."""
        if self._file is None or self._board is None:
            return
        self._file.write(json.dumps(record, allow_nan=True) + "\n")
        for name, value in _numbers(record):
            self._board.add_scalar(name, value, record["step"])

    def flush(self) -> None:
        """Hand everything to the system."""
        if self._file is not None and self._board is not None:
            self._file.flush()
            self._board.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None and self._board is not None:
            self._file.close()
            self._board.close()


def write_status(folder: Path, outcome: Outcome, **facts: Any) -> None:
    """Say how the run stands, in one file written whole: `outcome`, and for a failed run its `reason`."""
    with whole_file(folder / STATUS) as file:
        file.write((json.dumps({"outcome": outcome, **facts}, indent=1) + "\n").encode())


def read_status(folder: Path) -> dict[str, Any]:
    """What `write_status` wrote; empty where there is nothing."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Every finite number of a record by its name, those of nested records as group/name."""
    found: list[tuple[str, float]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value) and name != "step":
            found.append((f"{prefix}{name}", float(value)))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _step_of(line: str) -> float:
    """The step of a record; infinity for a line that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
