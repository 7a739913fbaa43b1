"""Table 4: what frozen features know of SSV2, by zero-shot retrieval and by a linear probe."""

from tvts_bench.tables.base import (
    BASE_ONLY,
    CACHED_PROBE,
    ONLINE_PROBE,
    PIXELS,
    RANDOM,
    RETRIEVAL,
    TVTS,
    Column,
    Table,
    published_rows,
)

COLUMNS = (
    *(
        Column(name=f"ssv2_v2v_r{k}", heading=f"R@{k}", dataset="ssv2", metric=f"R@{k}", protocols=(RETRIEVAL,))
        for k in (1, 5, 10)
    ),
    Column(
        name="ssv2_linear_top1",
        heading="linear top-1",
        dataset="ssv2",
        metric="top-1",
        protocols=(CACHED_PROBE, ONLINE_PROBE),
    ),
)

TABLE = Table(
    name="table4",
    title="Transferability on SSV2: zero-shot video-to-video retrieval and linear probe",
    labels={"venue": "venue", "pretrain_dataset": "pretrained on"},
    columns=COLUMNS,
    rows=published_rows("table4", COLUMNS, name="method", group="family", labels=("venue", "pretrain_dataset")),
    embedded_rows=(TVTS, BASE_ONLY, RANDOM, PIXELS),
    baselines=(BASE_ONLY.name, "VideoMAE (YT-Temporal)", "VideoMAE"),
    examples=(
        "tvts-bench table4",
        "tvts-bench table4 --data ssv2=DIR --ckpt TVTS=TVTS_yt_pt.pth",
    ),
)
