"""Learning curves as pictures: `epochs.csv` and `steps.csv` of trainings, `metrics.jsonl` of pretraining."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.ablations.cells import cell_folder
from tvts_bench.report.charts import Chart, Line, line_chart, sample
from tvts_bench.report.folder import FoundGrid
from tvts_bench.report.origins import relative

POINTS = 60  # of a curve that is drawn; more are averaged together
Curve = tuple[tuple[float, float], ...]
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


def of_training(folder: Path, root: Path, name: str) -> CurveView | None:
    """The curves of one training; None where there is nothing to draw."""
    read = {**_csv(folder / "steps.csv", OF_STEPS), **_csv(folder / "epochs.csv", OF_EPOCHS)}
    read |= _jsonl(folder / "metrics.jsonl")
    title = relative(folder, root) if folder != root else "this training"
    return _view(title, {title: [read]}, name)


def of_grid(grid: FoundGrid, name: str) -> CurveView | None:
    """The pretraining of every cell: a kind of line a row, a line a seed."""
    rows = {
        row.title: [_jsonl(cell_folder(grid.root, key) / "run" / "metrics.jsonl") for key in row.cells.values()]
        for row in grid.record.rows
    }
    return _view(f"Pretraining of the grid {grid.name}", rows, name)


def _view(title: str, rows: Mapping[str, Sequence[Mapping[str, Curve]]], name: str) -> CurveView | None:
    names = list(rows)
    kinds = dict.fromkeys(kind for curves in rows.values() for each in curves for kind in each)
    charts, longest = [], 0
    for number, kind in enumerate(kinds):
        lines = [
            Line(series=series, points=_thinned(each[kind]))
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


def _thinned(curve: Curve) -> Curve:
    """At most `POINTS` points, each the mean of as many neighbours."""
    together = -(-len(curve) // POINTS)
    parts = [curve[start : start + together] for start in range(0, len(curve), together)]
    return tuple((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts)


def _csv(path: Path, kinds: Mapping[str, str]) -> dict[str, Curve]:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            return _curves(list(csv.DictReader(file)), kinds)
    except (OSError, csv.Error):
        return {}


def _jsonl(path: Path) -> dict[str, Curve]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return _curves([record for line in lines if (record := _record(line))], OF_PRETRAINING)


def _record(line: str) -> dict[str, object]:
    """One record, validation by its dotted names; nothing for a line that was cut off."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    validation = found.get("validation")
    inner = {f"validation.{name}": value for name, value in validation.items()} if isinstance(validation, dict) else {}
    return {**found, **inner}


def _curves(records: Iterable[Mapping[str, object]], kinds: Mapping[str, str]) -> dict[str, Curve]:
    listed = list(records)
    found = {words: tuple(_points(listed, kind)) for kind, words in kinds.items()}
    return {words: curve for words, curve in found.items() if len(curve) > 1}


def _points(records: Iterable[Mapping[str, object]], kind: str) -> Iterator[tuple[float, float]]:
    for record in records:
        try:
            x, y = float(str(record["step"])), float(str(record[kind]))
        except (KeyError, ValueError):
            continue
        if math.isfinite(x) and math.isfinite(y):
            yield x, y
