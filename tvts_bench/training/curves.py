"""Learning curves: `steps.csv`, `epochs.csv`, and the same in TensorBoard."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tvts_bench.atomic import whole_file
from tvts_bench.csv_files import csv_text

STEPS, EPOCHS = "steps.csv", "epochs.csv"
STEP_COLUMNS = ("step", "epoch", "lr", "loss", "gradient_norm", "clips_per_second")

Record = Mapping[str, float]


class Curves:
    """Writes the curves of one training; does nothing where `active` is off (all ranks but the first)."""

    def __init__(self, folder: Path, start: int, history: Sequence[Record] = (), active: bool = True) -> None:
        """Take up the curves of `folder` at step `start`: what was written of later steps, which will come again, goes.

        Args:
            folder: of the training; made if it is not there.
            start: steps done.
            history: the epochs done, as `write_epochs` takes them.
            active: whether this process writes.
        """
        self.folder, self._file, self._board = folder, None, None
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / STEPS
        with whole_file(path) as file:
            file.write(csv_text([STEP_COLUMNS, *_rows_up_to(path, start)]).encode())
        self._file = path.open("a", encoding="utf-8", newline="")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._shown = len(history)

    def write_step(self, record: Record) -> None:
        """Add one step: a number for every one of `STEP_COLUMNS`."""
        if self._file is None or self._board is None:
            return
        self._file.write(csv_text([[record[name] for name in STEP_COLUMNS]]))
        for name in STEP_COLUMNS[2:]:
            if math.isfinite(record[name]):
                self._board.add_scalar(f"train/{name}", record[name], int(record["step"]))

    def write_epochs(self, history: Sequence[Record]) -> None:
        """Write all epochs done; every record has the same names, among them "step" and "epoch"."""
        if self._board is None:
            return
        names = list(history[0])
        with whole_file(self.folder / EPOCHS) as file:
            file.write(csv_text([names, *([record[name] for name in names] for record in history)]).encode())
        for record in history[self._shown :]:
            for name in names:
                if name not in ("step", "epoch") and math.isfinite(record[name]):
                    self._board.add_scalar(f"epoch/{name}", record[name], int(record["step"]))
        self._shown = len(history)
        self.flush()

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


def _rows_up_to(path: Path, step: int) -> list[list[str]]:
    """The whole rows of steps up to `step`; one that was cut off or damaged is none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(STEP_COLUMNS) and row[0].isdecimal()]
    return [row for row in rows if int(row[0]) <= step]
