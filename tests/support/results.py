"""Results made by hand, as commands write them: JSON, and what each query or clip scored as Parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvts_bench.metrics.measured import Metric, SplitCoverage
from tvts_bench.results import Result, Run
from tvts_bench.results.files import write_files
from tvts_bench.results.index import StoredResult, read_index
from tvts_bench.tables.model import CellResults
from tvts_bench.version import VERSION

SSV2_VAL, SSV2_TRAIN = 24_777, 168_913


def coverage(split: str, used: int, listed: int, official: tuple[int, ...] = ()) -> SplitCoverage:
    """A split of which the first `listed - used` clips could not be read."""
    failed = {f"gone{number}": "does not exist" for number in range(listed - used)}
    return SplitCoverage(split=split, fingerprint="f" * 64, listed=listed, used=used, failed=failed, official=official)


def run(dataset: str, backbone: str, evaluator: str, **changes: Any) -> Run:
    """A run whose weights are told apart by their name."""
    weights = {"weights": f"{backbone}.safetensors", "sha256": backbone.ljust(64, "0"), "tensors_sha256": backbone}
    return Run(
        evaluator={"name": evaluator, "dtype": "fp32", **changes},
        backbone={"family": "tvts", "variant": backbone, **weights},
        dataset={"name": dataset, "splits": {"val": "f" * 64}, "groups": {"val": None}},
        decoder="decord 0.6.0",
    )


def retrieval(
    hits: Sequence[Sequence[bool]],
    *,
    dataset: str = "scripted_motion-ssv2",
    backbone: str = "a",
    parts: tuple[SplitCoverage, ...] | None = None,
    version: str = VERSION,
    **changes: Any,
) -> Result:
    """Zero-shot retrieval of queries q0, q1, ... with `hits[query][rank]`, and R@1 and R@5 made from them."""
    ranks = [(f"q{query}", rank + 1, hit) for query, row in enumerate(hits) for rank, hit in enumerate(row)]
    recalls = {k: 100 * sum(any(row[:k]) for row in hits) / len(hits) for k in (1, 5)}
    return Result(
        run=run(dataset, backbone, "zero_shot_retrieval", **changes),
        metrics=tuple(
            Metric(name=f"R@{k}", value=value, low=value - 1, high=value + 1, chance=4.0)
            for k, value in recalls.items()
        ),
        coverage=parts or (coverage("val", len(hits), len(hits)),),
        provenance=provenance(version),
        protocol=("search of val, leave-one-out",),
        tables={
            "neighbors": {
                "seed": [0] * len(ranks),
                "query": [query for query, _, _ in ranks],
                "rank": [rank for _, rank, _ in ranks],
                "hit": [hit for _, _, hit in ranks],
            }
        },
    )


def classification(
    right: Sequence[bool],
    *,
    evaluator: str = "finetune",
    condition: str = "fine-tuned",
    dataset: str = "scripted_motion-ssv2",
    backbone: str = "a",
    parts: tuple[SplitCoverage, ...] | None = None,
    **changes: Any,
) -> Result:
    """Top-1 over clips c0, c1, ... of class 0, each answered right or not."""
    value = 100 * sum(right) / len(right)
    count = len(right)
    return Result(
        run=run(dataset, backbone, evaluator, **changes),
        metrics=(Metric(name="top-1", condition=condition, value=value, low=value - 1, high=value + 1, chance=50.0),),
        coverage=parts or (coverage("val", count, count), coverage("train", 10, 10)),
        provenance=provenance(VERSION),
        tables={
            "logits": {
                "condition": [condition] * count,
                "seed": [0] * count,
                "id": [f"c{number}" for number in range(count)],
                "label": [0] * count,
                "predicted": [0 if each else 1 for each in right],
            }
        },
    )


def provenance(version: str) -> Mapping[str, Any]:
    """As much of it as tables look at."""
    return {"decoders": {"decord 0.6.0": 1}, "versions": {"tvts-bench": version}}


def stored(result: Result, out: Path) -> StoredResult:
    """The result, written into `out` and read again."""
    path = write_files(result, out).json
    return StoredResult(result=replace(result, tables={}), path=path)


def found(result: Result, out: Path) -> CellResults:
    """What a cell is made of, from one result."""
    stored(result, out)
    return CellResults(stored=((None, read_index(out).by_key[result.run.key]),))


def seeded(results: Mapping[int, Result], out: Path) -> CellResults:
    """What a cell is made of, from a result of each seed of pretraining."""
    return CellResults(stored=tuple((seed, stored(result, out)) for seed, result in results.items()))


def make_result(value: float = 12.5) -> Result:
    """Zero-shot retrieval with one temporal control, of nine clips of which one failed."""
    clip = {"num_frames": 16, "sampling": "segments", "position": "center", "crop": 32}
    clip |= {"temporal_views": 1, "spatial_views": 1}
    return Result(
        run=Run(
            evaluator={"name": "zero_shot_retrieval", "clip": clip, "seeds": [0], "dtype": "fp32"},
            backbone={"family": "tvts", "variant": "tiny", "weights": "a.safetensors", "sha256": "ab" * 32},
            dataset={"name": "folder", "splits": {"all": "cd" * 32}},
            decoder="decord 0.6.0",
        ),
        metrics=(
            Metric(name="R@1", value=value, low=10.0, high=15.0, chance=5.0),
            Metric(name="R@1", condition="reversed", value=6.0, low=5.0, high=7.0, chance=5.0),
        ),
        coverage=(SplitCoverage(split="all", fingerprint="cd" * 32, listed=9, used=8, failed={"x.mp4": "0 bytes"}),),
        provenance={"decoders": {"decord 0.6.0": 8}, "versions": {"torch": "2.13.0"}},
        protocol=("search of all, leave-one-out",),
        notes=("one note",),
    )
