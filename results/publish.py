"""Publish ablation grids: one compact file per grid, with what tables are made of and nothing that is large.

    python results/publish.py runs/ablations results/ablations

A published grid, results/ablations/GRID.zip, holds the records of the grid and its cells, their results (JSON), and of
the Parquet tables beside these the columns that `tvts-bench table1` to `table3` read: which neighbours are hits, and
which class each clip was given. So tables made of it are those made of the original. Left out are checkpoints, logs,
learning curves, pictures, similarities and logits. Equal grids make equal bytes.
"""

import io
import sys
from pathlib import Path

from pyarrow import ArrowException, parquet

from tvts_bench.atomic import whole_file
from tvts_bench.errors import UserError
from tvts_bench.regular_file import read_regular
from tvts_bench.results.archive import SUFFIX, is_archive, write_archive
from tvts_bench.results.grids import CELLS, GRIDS, cell_folder, grid_names, read_cell, read_grid
from tvts_bench.results.per_sample import COLUMNS, table_path


def publish(source: Path, target: Path) -> int:
    """Publish all grids of `source`; how many.

    A grid that was published before is replaced once the new file is whole; others in `target` stay.

    Raises:
        UserError: there is no grid in `source`, or a record or table cannot be read.
        OSError: a file is missing, or cannot be written.
    """
    names = grid_names(source)
    if not names or is_archive(source):
        raise UserError(f"{source} holds no grid: give the --out of `tvts-bench ablate`")
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        members = _members(source, name)
        with whole_file(target / f"{name}{SUFFIX}") as file:
            write_archive(file, members)
    return len(names)


def _members(source: Path, name: str) -> dict[str, bytes]:
    """Of a grid, and of its cells that were begun: name in the archive -> content."""
    grid = read_grid(source, name)
    members = {f"{GRIDS}/{name}.json": read_regular(source / GRIDS / f"{name}.json")}
    for key in sorted(grid.keys if grid else ()):
        cell = read_cell(source, key)
        if cell is None:
            continue
        folder = cell_folder(source, key)
        members[f"{CELLS}/{key}/cell.json"] = read_regular(folder / "cell.json")
        for file in (name for stage in cell.stages for name in stage.results):
            members[f"{CELLS}/{key}/{file}"] = read_regular(folder / file)
            for table, columns in COLUMNS.items():
                path = table_path(folder / file, table)
                if path.is_file():
                    members[f"{CELLS}/{key}/{path.relative_to(folder).as_posix()}"] = _columns(path, columns)
    return members


def _columns(path: Path, columns: list[str]) -> bytes:
    """A Parquet table with these columns alone."""
    try:
        kept = parquet.read_table(path, columns=columns)
    except ArrowException as error:
        raise UserError(f"cannot read {path}: {error}") from None
    buffer = io.BytesIO()
    parquet.write_table(kept, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        count = publish(Path(sys.argv[1]), Path(sys.argv[2]))
    except (UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    sys.stdout.write(f"{count} grids\n")
