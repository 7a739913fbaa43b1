"""What a run leaves to be read: `metrics.jsonl` (one line a step), TensorBoard, and `status.json` (how it ended).

{"step": 12, "lr": 0.001, "loss": 9.1, "base": 6.2, "sort": 1.4, "order_accuracy": 6.2, "chance": {...}, ...}
{"step": 500, "validation": {"position_accuracy": 31.2, "recall_at_1": 12.0, ...}, "chance": {...}}
"""

import json
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from tvts_bench.atomic import whole_file

METRICS, STATUS = "metrics.jsonl", "status.json"
Outcome = Literal["running", "finished", "interrupted", "failed"]

logger = logging.getLogger(__name__)


class RunLog:
    """Writes a run's records; does nothing where `active` is off (all ranks but the first).

    A full disk ends no run: what cannot be written is said once, kept, and tried again at the next `flush`.
    """

    def __init__(self, folder: Path, start: int, active: bool = True) -> None:
        """Take up the log of `folder` at step `start`: records of later steps, which will come again, are dropped."""
        self._path, self._file, self._board = folder / METRICS, None, None
        self._waiting: list[Mapping[str, Any]] = []  # not yet on the board
        self._is_full = False
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        kept = [line for line in _lines(self._path) if _step_of(line) <= start]
        with whole_file(self._path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())
        self._file = self._path.open("ab", buffering=0)
        self._lines: list[bytes] = []  # not yet in the file
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._board.flush()  # its head, which else its own thread writes whenever it comes to it

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record, which has a "step"."""
        if self._file is None:
            return
        self._lines.append((json.dumps(record, allow_nan=True) + "\n").encode())
        self._waiting.append(record)

    def flush(self) -> None:
        """Hand everything to the system, as far as it takes it."""
        if self._file is None:
            return
        try:
            while self._lines:
                written = self._file.write(self._lines[0])
                self._lines[0] = self._lines[0][written:]
                if not self._lines[0]:
                    del self._lines[0]
        except OSError as error:
            self._say(f"cannot write {self._path}: {error.strerror}; training goes on, and what is missing is kept")
            return
        self._is_full = False
        self._show()

    def close(self) -> None:
        """Flush and close."""
        if self._file is None:
            return
        self.flush()
        self._file.close()
        self._file = None
        if self._board is not None:
            with suppress(OSError):
                self._board.close()

    def _show(self) -> None:
        """Give the board what the file has. Only then: its own thread would meet a full disk with a traceback."""
        records, self._waiting = self._waiting, []
        if self._board is None:
            return
        try:
            for record in records:
                for name, value in _numbers(record):
                    self._board.add_scalar(name, value, record["step"])
            self._board.flush()
        except OSError as error:
            self._board = None
            self._say(f"TensorBoard's file cannot be written: {error.strerror}; all numbers are in {self._path}")

    def _say(self, what: str) -> None:
        if not self._is_full:
            logger.warning("%s", what)
        self._is_full = True


def write_status(folder: Path, outcome: Outcome, **facts: Any) -> None:
    """Say how the run stands, in one file written whole: `outcome`, and for a failed run its `reason`.

    Where that cannot be written it is a warning: it must not hide the error that is to be recorded.
    """
    try:
        with whole_file(folder / STATUS) as file:
            file.write((json.dumps({"outcome": outcome, **facts}, indent=1) + "\n").encode())
    except OSError as error:
        logger.warning("cannot write %s: %s", folder / STATUS, error.strerror)


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
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _step_of(line: str) -> float:
    """The step of a record; infinity for a line that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
