"""Table 7: fine-tuning on UCF-101 and HMDB-51."""

from tvts_bench.tables.base import BASE_ONLY, ONE_SPLIT, RANDOM, TVTS, Table, finetuned_columns, published_rows

COLUMNS = finetuned_columns(("ucf101", "hmdb51"), ONE_SPLIT)

TABLE = Table(
    name="table7",
    title="Fine-tuning on UCF-101 and HMDB-51",
    labels={"backbone": "backbone", "pretrain_dataset": "pretrained on"},
    columns=COLUMNS,
    rows=published_rows("table7", COLUMNS, name="method", labels=("backbone", "pretrain_dataset")),
    embedded_rows=(TVTS, BASE_ONLY, RANDOM),
    baselines=(BASE_ONLY.name, "VideoMAE (YT-Temporal)"),
    examples=("tvts-bench table7 --data ucf101=DIR --data hmdb51=DIR --ckpt TVTS=TVTS_yt_pt.pth",),
)
