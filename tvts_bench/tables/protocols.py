"""The protocols that tables are measured by."""

from tvts_bench.tables.base import Protocol

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
