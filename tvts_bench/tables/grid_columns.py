"""The columns of the tables that a grid fills: the paper's fine-tuning, and what is cheaper to measure beside it."""

from tvts_bench.tables.base import Column, Protocol
from tvts_bench.tables.protocols import CACHED_PROBE, RETRIEVAL


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
