"""Table 3: how the order of transcripts is asked for."""

from tvts_bench.tables.base import FINETUNE, Table, grid_columns, published_rows

COLUMNS = grid_columns(("ssv2", "k400"), FINETUNE)

TABLE = Table(
    name="table3",
    title="How the order is asked for",
    labels={},
    columns=COLUMNS,
    rows=published_rows("table3", COLUMNS, name="sort_modeling", cells={}),
    baselines=("none",),
    grid="sort-modeling",
    examples=(
        "tvts-bench ablate sort-modeling && tvts-bench table3",
        "tvts-bench table3 --ckpt k_way=TVTS_yt_pt.pth --data ssv2=DIR --data k400=DIR",
    ),
)
