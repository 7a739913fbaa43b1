"""Table 1: what is put in order: transcripts, or video."""

from tvts_bench.tables.base import ONE_SPLIT, Table, grid_columns, published_rows

CELLS = {
    "Baseline": "none",
    "TVTS": "transcript",
    "VCOP": "vcop",
    "MERLOT": "merlot",
    "MERLOT-like": "merlot_like",
}
COLUMNS = grid_columns(("ucf101", "hmdb51"), ONE_SPLIT)

TABLE = Table(
    name="table1",
    title="What is put in order",
    labels={"sort_target": "sort target"},
    columns=COLUMNS,
    rows=published_rows("table1", COLUMNS, name="method", labels=("sort_target",), cells=CELLS),
    baselines=("Baseline",),
    grid="sort-target",
    examples=("tvts-bench ablate sort-target && tvts-bench table1",),
)
