"""Table 5: fine-tuning on SSV2 and Kinetics-400."""

from tvts_bench.tables.base import BASE_ONLY, FINETUNE, RANDOM, TVTS, Table, finetuned_columns, published_rows

COLUMNS = finetuned_columns(("ssv2", "k400"), FINETUNE)

TABLE = Table(
    name="table5",
    title="Fine-tuning on SSV2 and Kinetics-400",
    labels={"backbone": "backbone", "pretrain_dataset": "pretrained on"},
    columns=COLUMNS,
    rows=published_rows("table5", COLUMNS, name="method", labels=("backbone", "pretrain_dataset")),
    embedded_rows=(TVTS, BASE_ONLY, RANDOM),
    baselines=(BASE_ONLY.name, "VideoMAE (YT-Temporal)"),
    examples=("tvts-bench table5 --data ssv2=DIR --data k400=DIR --ckpt TVTS=TVTS_yt_pt.pth --accumulate 16",),
)
