"""What tables share: protocols, the columns of grids, and the rows of the built-in synthetic set (ScriptedMotion)."""

from tvts_bench.tables.base import Column, Protocol, TableRow

RETRIEVAL = Protocol(
    name="zero-shot retrieval",
    command="retrieval",
    evaluator="zero_shot_retrieval",
    note="zero-shot retrieval takes the middle frame of each segment; the published numbers are a draw of random ones",
)

CACHED_PROBE = Protocol(
    name="linear probe, cached features",
    command="probe",
    evaluator="cached_probe",
    settings={"heads": ("linear",)},
    condition="linear",
    like_paper=False,
    note="the linear probe is the cached protocol: features are extracted once, without augmentation. The paper's"
    " trains online on augmented clips, so no difference to its numbers is shown",
)

ONLINE_PROBE = Protocol(
    name="linear probe, online",
    command="probe",
    evaluator="online_probe",
    condition="linear, online",
    note="the linear probe is the paper's online recipe; its epoch is chosen on held-out training clips, not on the"
    " test set",
)

FINETUNE = Protocol(
    name="fine-tuning",
    command="finetune",
    evaluator="finetune",
    condition="fine-tuned",
    note="fine-tuning as the recipe says; the published numbers were made with what `--habit paper` names",
)

ONE_SPLIT = Protocol(
    name="fine-tuning",
    command="finetune",
    evaluator="finetune",
    condition="fine-tuned",
    note="UCF-101 and HMDB-51: official split 1; `tvts-bench finetune --split all` gives the mean of the three",
)

GROUP = "embedded world"

TVTS = TableRow(name="TVTS (shipped)", group=GROUP, backbone="tvts:scripted_motion_tiny")
BASE_ONLY = TableRow(name="L_base only (twin)", group=GROUP, backbone="tvts:scripted_motion_tiny_l_base")
RANDOM = TableRow(name="random initialisation", group=GROUP, backbone="tvts:tiny")
PIXELS = TableRow(name="pixels (mean colours)", group=GROUP, backbone="pixels")


def grid_columns(datasets: tuple[str, ...], finetune: Protocol) -> tuple[Column, ...]:
    """Fine-tuned top-1 as in the paper; then ours, the linear probe and zero-shot R@1. Each on all of `datasets`."""
    published = tuple(
        Column(
            name=f"{dataset}_top1", heading="fine-tuned top-1", dataset=dataset, metric="top-1", protocols=(finetune,)
        )
        for dataset in datasets
    )
    ours = tuple(
        Column(
            name=f"{dataset}_{name}",
            heading=heading,
            dataset=dataset,
            metric=metric,
            protocols=(protocol,),
            published=False,
        )
        for dataset in datasets
        for name, heading, metric, protocol in (
            ("linear_top1", "linear top-1", "top-1", CACHED_PROBE),
            ("r1", "R@1", "R@1", RETRIEVAL),
        )
    )
    return published + ours
