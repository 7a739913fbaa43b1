"""The only place where a backbone, a data set and an evaluator meet."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from tvts_bench.backbones.base import Backbone, adaptation_notes, tensors_sha256
from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import Evaluator, FromFeatures, Outcome
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.measured import SplitCoverage, damage_line
from tvts_bench.provenance import canonical, versions
from tvts_bench.results import Result, Run
from tvts_bench.runtime import Runtime
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec


def plan(backbone: Backbone, dataset: Dataset, evaluator: Evaluator) -> Run:
    """What `evaluate` would measure, and so its key, from the lists alone: no video is read.

    What the evaluator leaves to the data set or the backbone (split, clip) is filled in first, so that the key says
    what is measured and not in which words.

    Args:
        backbone: what is measured.
        dataset: on which videos.
        evaluator: by which protocol.

    Raises:
        UserError: a split that is not there, or a list that cannot be read.
    """
    resolved = evaluator.resolve(backbone, dataset)
    return Run(
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
            "splits": {split: dataset.fingerprint(split) for split in resolved.splits},
            "groups": {split: dataset.group_fingerprint(split) for split in resolved.splits},
        },
        decoder=decoder_identity(resolved.decoder),
    )


def evaluate(backbone: Backbone, dataset: Dataset, evaluator: Evaluator, runtime: Runtime | None = None) -> Result:
    """Measure `backbone` on `dataset` by `evaluator`.

    Args:
        backbone: stays as it is, also where a copy of it is trained.
        dataset: videos that cannot be read are counted, not replaced.
        evaluator: the protocol.
        runtime: where and how fast; changes no number but for rounding.

    Returns:
        The result, whose run is `plan` of the same three.

    Raises:
        UserError: any of its kinds; see the evaluator.
    """
    runtime = runtime or Runtime()
    resolved = evaluator.resolve(backbone, dataset)
    adapted = adaptation_notes(backbone, resolved.clip or backbone.clip_spec)
    outcome = resolved.run(backbone, dataset, runtime)
    run = plan(backbone, dataset, evaluator)
    assert {item.split: item.fingerprint for item in outcome.coverage} == run.dataset["splits"], "covers other splits"
    return Result(
        run=run,
        metrics=outcome.metrics,
        coverage=outcome.coverage,
        provenance=_provenance(backbone, dataset, outcome, runtime),
        protocol=outcome.protocol,
        notes=(*outcome.notes, *adapted, *dataset.notes, *_coverage_notes(outcome.coverage)),
        tables=outcome.tables,
    )


def evaluate_all(
    backbones: Sequence[Backbone], dataset: Dataset, evaluator: Evaluator, runtime: Runtime | None = None
) -> tuple[Result, ...]:
    """What `evaluate` gives for each of `backbones`, but clips that several of them read are decoded once.

    That holds for evaluators of frozen features (`FromFeatures`) and backbones with the same clip, which then share
    the device's memory; all else is evaluated one by one.

    Args:
        backbones: as `evaluate` takes each, like the rest.
        dataset: on which videos.
        evaluator: the protocol.
        runtime: where and how fast.

    Returns:
        A result for each, in their order.

    Raises:
        UserError: any of its kinds; see the evaluator.
    """
    runtime = runtime or Runtime()
    extract_once(backbones, dataset, evaluator, runtime)
    return tuple(evaluate(backbone, dataset, evaluator, runtime) for backbone in backbones)


def extract_once(backbones: Sequence[Backbone], dataset: Dataset, evaluator: Evaluator, runtime: Runtime) -> None:
    """Bring into the store what more than one backbone's evaluation will look for there, each clip decoded once.

    Nothing to do for evaluators that do not start from frozen features (`FromFeatures`).

    Args:
        backbones: those that will be evaluated.
        dataset: on which videos.
        evaluator: the protocol.
        runtime: where and how fast.

    Raises:
        UserError: what an evaluation would raise before it reads a video, or while it extracts features.
    """
    if not isinstance(evaluator, FromFeatures):
        return
    readers: dict[tuple[str, ClipSpec], list[Backbone]] = {}
    for backbone in backbones:
        for clips in evaluator.prepare(backbone, dataset, runtime):
            backbone.adaptations(clips[1])  # refuses what it cannot take before a video is read
            readers.setdefault(clips, []).append(backbone)
    for (split, clip), sharing in readers.items():
        if len(sharing) > 1:
            extract(
                sharing,
                dataset.records(split),
                dataset.fingerprint(split),
                clip=clip,
                decoder=evaluator.decoder,
                dtype=evaluator.dtype,
                runtime=runtime,
            )


def _coverage_notes(coverage: Sequence[SplitCoverage]) -> Iterator[str]:
    """What the numbers do not speak of, and which damaged files they do."""
    yield from (_coverage_note(item) for item in coverage if not item.complete)
    yield from (damage_line(item.damaged, item.listed, item.split) for item in coverage if item.damaged)


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
        "weights_files": dict(backbone.weights.files),
        "load_report": canonical(report) if report is not None else None,
    }
