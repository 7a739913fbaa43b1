"""Copy the cells of ablation grids to where they are published, without what is large.

    python results/publish.py runs/ablations results/ablations

Kept are the records of grids and cells, the curves of pretraining, the results (JSON), and of the Parquet tables
beside them the columns that `tvts-bench table1` to `table3` read: which neighbours are hits, and which class each clip
was given. So tables made of the copy are those made of the original. Left out are checkpoints, logs, curves of
fine-tuning, pictures, similarities and logits.
"""

import shutil
import sys
from pathlib import Path

from pyarrow import parquet

from tvts_bench.ablations.cells import CellRecord, cell_folder, grid_names, read_cell, read_grid
from tvts_bench.errors import UserError

KEPT = {
    "neighbors": ["seed", "query", "rank", "hit"],
    "logits": ["condition", "seed", "id", "label", "predicted"],
}
"""Parquet table of a result -> its columns that are copied."""
CURVES = "run/metrics.jsonl"


def publish(source: Path, target: Path) -> int:
    """Copy all grids of `source`, and their cells that were begun; how many cells.

    Raises:
        UserError: there is no grid in `source`, or a record cannot be read.
    """
    names = grid_names(source)
    if not names:
        raise UserError(f"{source} holds no grid: give the --out of `tvts-bench ablate`")
    grids = [grid for name in names if (grid := read_grid(source, name)) is not None]
    keys = sorted({key for grid in grids for key in grid.keys})
    cells = [cell for key in keys if (cell := read_cell(source, key)) is not None]
    (target / "grids").mkdir(parents=True, exist_ok=True)
    for cell in cells:
        _copy_cell(cell, source, target)
    for name in names:
        shutil.copyfile(source / "grids" / f"{name}.json", target / "grids" / f"{name}.json")
    return len(cells)


def _copy_cell(cell: CellRecord, source: Path, target: Path) -> None:
    """A cell as it is now, in place of one of the same key."""
    old, new = cell_folder(source, cell.key), cell_folder(target, cell.key)
    if new.is_dir():
        shutil.rmtree(new)
    for file in (name for stage in cell.stages for name in stage.results):
        (new / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(old / file, new / file)
        for table, columns in KEPT.items():
            beside = (old / file).with_suffix(f".{table}.parquet")
            if beside.is_file():
                kept = parquet.read_table(beside, columns=columns)
                parquet.write_table(kept, (new / file).with_suffix(f".{table}.parquet"), compression="zstd")
    if (old / CURVES).is_file():
        (new / CURVES).parent.mkdir(parents=True)
        shutil.copyfile(old / CURVES, new / CURVES)
    new.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old / "cell.json", new / "cell.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        count = publish(Path(sys.argv[1]), Path(sys.argv[2]))
    except (UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    sys.stdout.write(f"{count} cells\n")
