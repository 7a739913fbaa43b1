"""Metrics of steps: read off the device now and then, written to a file and to TensorBoard, refused if not finite."""

import csv
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tvts_bench.atomic import whole_file
from tvts_bench.distributed import Rank, all_reduce_mean
from tvts_bench.errors import UserError
from tvts_bench.printable import csv_text

STEPS, EPOCHS, METRICS = "steps.csv", "epochs.csv", "metrics.jsonl"
STEP_COLUMNS = ("step", "epoch", "lr", "loss", "gradient_norm", "clips_per_second")
Record = Mapping[str, Any]

logger = logging.getLogger(__name__)


class NonFiniteLossError(UserError):
    """The loss, or its gradient, became NaN or infinite: nothing that is trained after this is worth keeping."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepMetrics:
    """One step, as all ranks saw it."""

    step: int  # from 1
    lr: float
    samples: int  # over all ranks
    is_logged: bool  # whether the metrics hold what only logged steps look at
    metrics: Mapping[str, float]  # means over the ranks
    samples_per_second: float = math.nan  # of the steps that were read with it


class MetricLogger:
    """Collects the metrics of steps. All ranks add the same steps and names, and read at the same ones."""

    def __init__(self, rank: Rank) -> None:
        """`rank` is this process."""
        self._rank = rank
        self._unread: list[tuple[StepMetrics, Tensor]] = []  # values on the device: reading them would wait for it
        self.start_clock()

    def start_clock(self) -> None:
        """Count the time from here: the speed is that of training alone."""
        self._clock = time.perf_counter()

    def add(self, *, step: int, lr: float, samples: int, is_logged: bool, metrics: Mapping[str, Tensor]) -> None:
        """Put the metrics of a step aside.

        Args:
            step: its number, from 1.
            lr: the learning rate it was taken with.
            samples: over all ranks.
            is_logged: see `StepMetrics`.
            metrics: scalars by name, on any device; "loss" is on the model's.
        """
        values = [value.detach().to(metrics["loss"].device, torch.float32) for value in metrics.values()]
        names = dict.fromkeys(metrics, math.nan)
        entry = StepMetrics(step=step, lr=lr, samples=samples, is_logged=is_logged, metrics=names)
        self._unread.append((entry, torch.stack(values)))

    @property
    def is_finite(self) -> bool:
        """Whether the metrics that nobody has read yet are, as far as this rank knows."""
        return all(bool(torch.isfinite(values).all()) for _, values in self._unread)

    def read(self) -> list[StepMetrics]:
        """The steps since the last time, their metrics averaged over all ranks. All ranks must call this."""
        if not self._unread:
            return []
        unread, self._unread = self._unread, []
        rows = all_reduce_mean(torch.stack([values for _, values in unread]).cpu(), self._rank).tolist()
        speed = sum(each.samples for each, _ in unread) / max(time.perf_counter() - self._clock, 1e-9)
        self.start_clock()
        return [
            replace(each, metrics=dict(zip(each.metrics, row, strict=True)), samples_per_second=speed)
            for (each, _), row in zip(unread, rows, strict=True)
        ]


def refuse_not_finite(steps: Sequence[StepMetrics], advice: str, steps_per_epoch: int | None = None) -> None:
    """Refuse a loss that is no number. The gradient counts as well: it spoils the weights before the loss shows it.

    Args:
        steps: as read.
        advice: what to change, for the message.
        steps_per_epoch: None where epochs are not counted.

    Raises:
        NonFiniteLossError: with the step.
    """
    for each in steps:
        epoch = f"epoch {(each.step - 1) / steps_per_epoch:.1f}, " if steps_per_epoch else ""
        for name, what in (("loss", "loss"), ("gradient_norm", "norm of the gradient")):
            if not math.isfinite(each.metrics[name]):
                raise NonFiniteLossError(
                    f"the {what} is {each.metrics[name]:g} at step {each.step} ({epoch}learning rate {each.lr:g}):"
                    f" {advice}; a state saved before is whole"
                )


class MetricWriter:
    """One line per record in `metrics.jsonl`, the same in TensorBoard; inactive, it does nothing.

    A full disk ends no training: what cannot be written is kept, with one warning, and tried again at the next `flush`.
    """

    name, head = METRICS, ""

    def __init__(self, folder: Path, start: int, active: bool = True) -> None:
        """Resume the file at step `start`: records of later steps, which will come again, are dropped.

        Args:
            folder: of the training; made if it is not there.
            start: steps done.
            active: whether this process writes: the first rank.
        """
        self.folder, self._path, self._file, self._board = folder, folder / self.name, None, None
        self._pending = b""  # not yet in the file
        self._waiting: list[Record] = []  # not yet on the board
        self._is_full = False
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        old = self._path.read_text(encoding="utf-8", errors="replace").splitlines() if self._path.is_file() else []
        kept = [f"{line}\n" for line in old if self.step_of(line) <= start]
        with whole_file(self._path) as file:
            file.write("".join([self.head, *kept]).encode())
        self._file = self._path.open("ab", buffering=0)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._board.flush()  # its head, which else its own thread writes whenever it comes to it

    def line(self, record: Record) -> str:
        """A record as a line of the file."""
        return json.dumps(record, allow_nan=True) + "\n"

    def step_of(self, line: str) -> float:
        """The step of a line; infinity for one that was cut off or damaged."""
        try:
            return float(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            return math.inf

    def scalars(self, record: Record) -> Mapping[str, float]:
        """What of a record TensorBoard shows, by its tag there."""
        return _numbers(record)

    def write(self, record: Record) -> None:
        """Add one record, which has a "step"."""
        if self._file is not None:
            self._pending += self.line(record).encode()
            self._waiting.append(record)

    def flush(self) -> None:
        """Hand everything to the system, as far as it takes it."""
        if self._file is None:
            return
        try:
            while self._pending:
                self._pending = self._pending[self._file.write(self._pending) :]
        except OSError as error:
            self._warn(f"cannot write {self._path}: {error.strerror}; training continues, and what is missing is kept")
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
                for tag, value in self.scalars(record).items():
                    self._board.add_scalar(tag, value, int(record["step"]))
            self._board.flush()
        except OSError as error:
            self._board = None
            self._warn(f"TensorBoard's file cannot be written: {error.strerror}; all numbers are in {self._path}")

    def _warn(self, what: str) -> None:
        if not self._is_full:
            logger.warning("%s", what)
        self._is_full = True


class CurveWriter(MetricWriter):
    """Learning curves of a supervised training: `steps.csv`, `epochs.csv`, and the same in TensorBoard."""

    name, head = STEPS, csv_text([STEP_COLUMNS])

    def __init__(self, folder: Path, start: int, history: Sequence[Record] = (), active: bool = True) -> None:
        """As `MetricWriter`.

        Args:
            folder: of the training.
            start: steps done.
            history: the epochs done, as `write_epochs` takes them.
            active: whether this process writes.
        """
        super().__init__(folder, start, active)
        self._shown = len(history)

    def line(self, record: Record) -> str:
        """A number for every one of `STEP_COLUMNS`."""
        return csv_text([[record[name] for name in STEP_COLUMNS]])

    def step_of(self, line: str) -> float:
        """As `MetricWriter.step_of`."""
        (row,) = csv.reader([line])
        return int(row[0]) if len(row) == len(STEP_COLUMNS) and row[0].isdecimal() else math.inf

    def scalars(self, record: Record) -> Mapping[str, float]:
        """Those of an epoch apart from those of a step."""
        is_step = STEP_COLUMNS[-1] in record
        numbers = {name: value for name, value in record.items() if name not in ("step", "epoch")}
        return _numbers(numbers, "train/" if is_step else "epoch/")

    def write_epochs(self, history: Sequence[Record]) -> None:
        """Write all epochs done; every record has the same names, among them "step" and "epoch"."""
        if self._file is None:
            return
        names = list(history[0])
        with whole_file(self.folder / EPOCHS) as file:
            file.write(csv_text([names, *([record[name] for name in names] for record in history)]).encode())
        self._waiting += history[self._shown :]
        self._shown = len(history)
        self.flush()


def _numbers(record: Record, prefix: str = "") -> dict[str, float]:
    """Every finite number of a record by its name, those of nested records as group/name."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            numbers |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value) and name != "step":
            numbers[f"{prefix}{name}"] = float(value)
    return numbers
