"""The only place where a backbone, a data set and an evaluator meet."""

import datetime
from collections.abc import Sequence
from typing import Any

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import Evaluator, FromFeatures, Outcome
from tvts_bench.features.extraction import extract_all
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.provenance import canonical, versions
from tvts_bench.results import Result, Run
from tvts_bench.runtime import Runtime
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec


def evaluate(backbone: Backbone, dataset: Dataset, evaluator: Evaluator, runtime: Runtime | None = None) -> Result:
    """Measure `backbone` on `dataset` by `evaluator`.

    What the evaluator leaves to the data set or the backbone (split, clip) is filled in first, so that the run's key
    says what was measured and not how it was asked for.

    Raises:
        UserError: any of its kinds; see the evaluator.
    """
    runtime = runtime or Runtime()
    resolved = evaluator.resolve(backbone, dataset)
    outcome = resolved.run(backbone, dataset, runtime)
    run = Run(
        evaluator={"name": resolved.name, **canonical(resolved)},
        backbone={
            "family": backbone.family,
            "variant": backbone.variant,
            "weights": backbone.weights.name,
            "sha256": backbone.weights.sha256,
            "tensors_sha256": tensors_sha256(backbone),
        },
        dataset={
            "name": dataset.name,
            "splits": {item.split: item.fingerprint for item in outcome.coverage},
            "groups": {item.split: dataset.group_fingerprint(item.split) for item in outcome.coverage},
        },
        decoder=decoder_identity(resolved.decoder),
    )
    return Result(
        run=run,
        metrics=outcome.metrics,
        coverage=outcome.coverage,
        provenance=_provenance(backbone, dataset, outcome, runtime),
        protocol=outcome.protocol,
        notes=(*outcome.notes, *(_coverage_note(item) for item in outcome.coverage if not item.complete)),
        tables=outcome.tables,
    )


def evaluate_all(
    backbones: Sequence[Backbone], dataset: Dataset, evaluator: Evaluator, runtime: Runtime | None = None
) -> tuple[Result, ...]:
    """What `evaluate` gives for each of `backbones`, but clips that several of them read alike are decoded once.

    That holds for evaluators of frozen features (`FromFeatures`) and backbones with the same clip, which then share
    the device's memory; all else is evaluated one by one.

    Raises:
        UserError: any of its kinds; see the evaluator.
    """
    runtime = runtime or Runtime()
    if isinstance(evaluator, FromFeatures):
        _extract_once(backbones, dataset, evaluator, runtime)
    return tuple(evaluate(backbone, dataset, evaluator, runtime) for backbone in backbones)


def _extract_once(backbones: Sequence[Backbone], dataset: Dataset, evaluator: FromFeatures, runtime: Runtime) -> None:
    """Bring into the store what more than one backbone's evaluation will look for there."""
    readers: dict[tuple[str, ClipSpec], list[Backbone]] = {}
    for backbone in backbones:
        for clips in evaluator.prepare(backbone, dataset, runtime):
            readers.setdefault(clips, []).append(backbone)
    for (split, clip), sharing in readers.items():
        if len(sharing) > 1:
            extract_all(
                sharing,
                dataset.records(split),
                dataset.fingerprint(split),
                clip=clip,
                decoder=evaluator.decoder,
                dtype=evaluator.dtype,
                runtime=runtime,
            )


def _coverage_note(coverage: SplitCoverage) -> str:
    official = f" (official: {', '.join(f'{size:,}' for size in coverage.official)})" if coverage.official else ""
    return (
        f"{coverage.split}: {coverage.used:,} of {coverage.listed:,} listed clips were measured{official};"
        f" {len(coverage.failed):,} could not be read"
    )


def _provenance(backbone: Backbone, dataset: Dataset, outcome: Outcome, runtime: Runtime) -> dict[str, Any]:
    report = backbone.weights.report
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "device": runtime.device,
        "batch_size": runtime.batch_size,
        "world_size": runtime.world_size,
        "decoders": dict(outcome.decoders),
        "features_computed_by": dict(outcome.computed_by),
        "root": str(dataset.root),
        "load_report": canonical(report) if report is not None else None,
    }
