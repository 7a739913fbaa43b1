"""Table 2: training objectives, with and without the stop-gradient before the text encoder."""

from tvts_bench.tables.base import FINETUNE, Table, grid_columns, published_rows

COLUMNS = grid_columns(("ssv2", "k400"), FINETUNE)

TABLE = Table(
    name="table2",
    title="Training objectives",
    labels={"l_base": "L_base", "l_sort": "L_sort", "stop_gradient": "stop-gradient"},
    columns=COLUMNS,
    rows=published_rows("table2", COLUMNS, name="name", labels=("l_base", "l_sort", "stop_gradient"), cells={}),
    baselines=("base",),
    grid="objective",
    examples=("tvts-bench ablate objective && tvts-bench table2",),
)
