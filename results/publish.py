"""Copy the cells of ablation grids to where they are published, without what is large.

    python results/publish.py runs/ablations results/ablations

Kept are the records of grids and cells, the curves of pretraining, the results (JSON), and of the Parquet tables
beside them the columns that `tvts-bench table1` to `table3` read: which neighbours are hits, and which class each clip
was given. So tables made of the copy are those made of the original. Left out are checkpoints, logs, curves of
fine-tuning, pictures, similarities and logits.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from pyarrow import ArrowException, parquet

from tvts_bench.errors import UserError
from tvts_bench.results.grids import CellRecord, cell_folder, grid_names, read_cell, read_grid

KEPT = {
    "neighbors": ["seed", "query", "rank", "hit"],
    "logits": ["condition", "seed", "id", "label", "predicted"],
}
"""Parquet table of a result -> its columns that are copied."""
CURVES = "run/metrics.jsonl"


def publish(source: Path, target: Path) -> int:
    """Copy all grids of `source`, and their cells that were begun; how many cells.

    A cell that was published before is replaced once its copy is whole; what is no grid's any more is removed.

    Raises:
        UserError: there is no grid in `source`, it is `target`, or a record or table cannot be read.
        OSError: a file is missing, or cannot be written.
    """
    names = grid_names(source)
    if not names:
        raise UserError(f"{source} holds no grid: give the --out of `tvts-bench ablate`")
    if source.resolve() == target.resolve():
        raise UserError(f"{target} is what would be copied: give another folder to publish in")
    grids = [grid for name in names if (grid := read_grid(source, name)) is not None]
    keys = sorted({key for grid in grids for key in grid.keys})
    cells = [cell for key in keys if (cell := read_cell(source, key)) is not None]
    for cell in cells:
        _copy_cell(cell, source, target)
    (target / "grids").mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / "grids" / f"{name}.json", target / "grids" / f"{name}.json")
    kept = {key for name in grid_names(target) if (grid := read_grid(target, name)) is not None for key in grid.keys}
    for folder in (target / "cells").iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)
    return len(cells)


def _copy_cell(cell: CellRecord, source: Path, target: Path) -> None:
    old, new = cell_folder(source, cell.key), cell_folder(target, cell.key)
    new.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=new.parent) as made:
        for file in (name for stage in cell.stages for name in stage.results):
            _copy(old / file, Path(made, file))
            for table, columns in KEPT.items():
                _copy_columns((old / file).with_suffix(f".{table}.parquet"), Path(made, file).parent, columns)
        if (old / CURVES).is_file():
            _copy(old / CURVES, Path(made, CURVES))
        _copy(old / "cell.json", Path(made, "cell.json"))
        if new.is_dir():
            shutil.rmtree(new)
        shutil.copytree(made, new)


def _copy(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old, new)


def _copy_columns(old: Path, folder: Path, columns: list[str]) -> None:
    """A Parquet table with these columns alone, if it is there."""
    if not old.is_file():
        return
    try:
        kept = parquet.read_table(old, columns=columns)
    except ArrowException as error:
        raise UserError(f"cannot read {old}: {error}") from None
    parquet.write_table(kept, folder / old.name, compression="zstd")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        count = publish(Path(sys.argv[1]), Path(sys.argv[2]))
    except (UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    sys.stdout.write(f"{count} cells\n")
