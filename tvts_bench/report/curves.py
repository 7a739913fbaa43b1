"""Learning curves as pictures: `epochs.csv` and `steps.csv` of trainings, `metrics.jsonl` of pretraining."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tvts_bench.regular_file import read_regular
from tvts_bench.report.charts import Chart, Curve, line_chart, sample
from tvts_bench.report.folder import GridContents
from tvts_bench.report.run_cards import relative
from tvts_bench.results.grids import cell_folder

POINTS = 60  # of a curve that is drawn; more are averaged together
LARGEST = 1e30  # beyond it a training has diverged, and axes have no steps
Points = tuple[tuple[float, float], ...]
OF_PRETRAINING = {
    "base": "alignment loss (L_base)",
    "sort": "sorting loss (L_sort)",
    "position_accuracy": "segments in their place, %",
    "alignment_accuracy": "clips aligned with their words, %",
    "validation.position_accuracy": "held-out segments in their place, %",
    "validation.recall_at_1": "held-out R@1, %",
}
"""Records of `tvts-pretrain` that are drawn; the total loss is not, since objectives add up different terms."""
OF_STEPS = {"loss": "training loss"}
OF_EPOCHS = {"measured_top_1": "top-1 of the held-out clips, %", "measured_loss": "loss of the held-out clips"}


@dataclass(frozen=True, kw_only=True)
class CurveView:
    """A training, or the trainings of a grid, as pictures with one key."""

    title: str
    charts: tuple[Chart, ...]
    key: tuple[tuple[str, str], ...]  # a piece of line, what it stands for
    note: str


def of_training(folder: Path, root: Path, name: str, left_out: list[str]) -> CurveView | None:
    """The curves of one training; None where there is nothing to draw.

    Args:
        folder: of the training.
        root: folder of all results.
        name: unique on the page.
        left_out: gets a sentence for each file that cannot be read.

    Returns:
        A picture for each kind of number.
    """
    read: dict[str, Points] = {}
    for file, parse, kinds in (
        ("steps.csv", _csv, OF_STEPS),
        ("epochs.csv", _csv, OF_EPOCHS),
        ("metrics.jsonl", _jsonl, OF_PRETRAINING),
    ):
        read |= _read(folder / file, parse, kinds, left_out)
    title = relative(folder, root) if folder != root else "this training"
    return _view(title, {title: [read]}, name)


def of_grid(grid: GridContents, name: str, left_out: list[str]) -> CurveView | None:
    """The pretraining of every cell: one kind of line per row, one line per seed.

    Args:
        grid: with its cells.
        name: unique on the page.
        left_out: gets a sentence for each file that cannot be read.

    Returns:
        A picture for each kind of number; None where there is nothing to draw.
    """
    files = {key: cell_folder(grid.root, key) / "run" / "metrics.jsonl" for key in sorted(grid.record.keys)}
    read = {key: _read(file, _jsonl, OF_PRETRAINING, left_out) for key, file in files.items()}
    rows = {row.title: [read[key] for key in row.cells.values()] for row in grid.record.rows}
    return _view(f"Pretraining of the grid {grid.name}", rows, name)


def _view(title: str, rows: Mapping[str, Sequence[Mapping[str, Points]]], name: str) -> CurveView | None:
    names = list(rows)
    kinds = dict.fromkeys(kind for curves in rows.values() for each in curves for kind in each)
    charts, longest = [], 0
    for number, kind in enumerate(kinds):
        lines = [
            Curve(series=series, points=_thinned(each[kind]))
            for series, curves in enumerate(rows.values())
            for each in curves
            if each.get(kind)
        ]
        longest = max([longest, *(len(each[kind]) for curves in rows.values() for each in curves if each.get(kind))])
        charts.append(line_chart(f"{name}-{number}", kind, lines, names))
    if not charts:
        return None
    together = -(-longest // POINTS)
    return CurveView(
        title=title,
        charts=tuple(charts),
        key=tuple((sample(number), each) for number, each in enumerate(names)) if len(names) > 1 else (),
        note=f"Each point is the mean of up to {together} records." if together > 1 else "",
    )


def _thinned(curve: Points) -> Points:
    """At most `POINTS` points, each the mean of as many neighbours."""
    together = -(-len(curve) // POINTS)
    parts = [curve[start : start + together] for start in range(0, len(curve), together)]
    return tuple((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts)


Records = Iterable[Mapping[str, object]]


def _read(
    path: Path, parse: Callable[[TextIO], Records], kinds: Mapping[str, str], left_out: list[str]
) -> dict[str, Points]:
    """The curves of a file; none where it is not there. One that holds something else goes to `left_out`."""
    if not os.path.lexists(path):
        return {}
    try:
        text = read_regular(path).decode(errors="replace")
        records = list(parse(io.StringIO(text, newline="")))
        if text and not any(kind in record for record in records for kind in ("step", *kinds)):
            raise OSError("no line of it is a record of a training")
    except (OSError, csv.Error) as error:
        left_out.append(f"left out {path}: it cannot be read ({error})")
        return {}
    return _curves(records, kinds)


def _csv(file: TextIO) -> Records:
    reader = csv.DictReader(file)
    return [*reader] or [dict.fromkeys(reader.fieldnames or ())]  # before the first step there is a header


def _jsonl(file: TextIO) -> Records:
    return filter(None, map(_record, file))


def _record(line: str) -> dict[str, object]:
    """One record, validation by its dotted names; nothing for a line that was cut off."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    validation = record.get("validation")
    inner = {f"validation.{name}": value for name, value in validation.items()} if isinstance(validation, dict) else {}
    return {**record, **inner}


def _curves(records: Records, kinds: Mapping[str, str]) -> dict[str, Points]:
    listed = list(records)
    curves = {words: tuple(_points(listed, kind)) for kind, words in kinds.items()}
    return {words: curve for words, curve in curves.items() if len(curve) > 1}


def _points(records: Records, kind: str) -> Iterator[tuple[float, float]]:
    for record in records:
        try:
            x, y = float(str(record["step"])), float(str(record[kind]))
        except (KeyError, ValueError):
            continue
        if abs(x) < LARGEST and abs(y) < LARGEST:  # false of NaN, too
            yield x, y
