"""The only place where a backbone, a data set and an evaluator meet."""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvts_bench.backbones.base import Backbone, adaptation_notes, cost_of, tensors_sha256
from tvts_bench.datasets.base import Dataset
from tvts_bench.devices import resolve_dtype
from tvts_bench.evaluators.base import Evaluator, FromFeatures, Outcome
from tvts_bench.evaluators.splits import extract_split
from tvts_bench.features.base import Dtype
from tvts_bench.features.extraction import EXTRACTING, extract
from tvts_bench.metrics.measured import SplitCoverage, damage_line
from tvts_bench.provenance import canonical, versions
from tvts_bench.results import Result, Run
from tvts_bench.runtime import Progress, Runtime
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

if TYPE_CHECKING:
    import pandas as pd


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
    meter = _SpeedMeter(runtime.progress)
    outcome = resolved.run(backbone, dataset, replace(runtime, progress=meter))
    run = plan(backbone, dataset, evaluator)
    assert {item.split: item.fingerprint for item in outcome.coverage} == run.dataset["splits"], "covers other splits"
    return Result(
        run=run,
        metrics=outcome.metrics,
        coverage=outcome.coverage,
        provenance={
            **_provenance(backbone, dataset, outcome, runtime),
            "cost": cost_of(backbone, resolved.clip or backbone.clip_spec),
            **meter.in_record(runtime.world_size),
        },
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


class ExtractedFeatures(NamedTuple):
    """Features of the clips of a split that can be read, in the order of its list."""

    values: NDArray[np.float32]  # [N, D], the mean over the views of a clip
    labels: NDArray[np.int64]  # [N], indices of classes
    frame: "pd.DataFrame"  # [N] rows: id, path, label, class, group; `attrs` has `failed`: id -> reason


def extract_features(
    backbone: Backbone,
    dataset: Dataset,
    split: str | None = None,
    *,
    clip: ClipSpec | None = None,
    decoder: str = "decord",
    dtype: Dtype | None = None,
    runtime: Runtime | None = None,
) -> ExtractedFeatures:
    """The features that evaluations start from, as arrays; from the store where they are there already.

    Args:
        backbone: of any family, or one's own (`as_backbone`).
        dataset: as `load_dataset` gives it.
        split: None: the one that the data set's papers evaluate.
        clip: None: the backbone's own.
        decoder: "decord" or "pyav".
        dtype: "fp32" or "bf16"; None: as commands choose, bf16 where the processor has it.
        runtime: device, workers, cache.

    Returns:
        Arrays, and a frame with one row per clip; clips that cannot be read are in none, and named in its `attrs`.

    Raises:
        UserError: nothing can be read, or any of its other kinds.
    """
    import pandas as pd

    runtime = runtime or Runtime()
    split, clip = split or dataset.info.default_split, clip or backbone.clip_spec
    adaptation_notes(backbone, clip)
    precision = dtype or resolve_dtype("auto", runtime.device)
    read = extract_split(backbone, dataset, split, [clip], decoder=decoder, dtype=precision, runtime=runtime)
    features = read.under(clip)
    paths = {record.id: str(record.path) for record in dataset.records(split)}
    frame = pd.DataFrame(
        {
            "id": list(features.ids),
            "path": [paths[name] for name in features.ids],
            "label": features.labels,
            "class": [dataset.class_names[label] for label in features.labels],
            "group": list(features.groups),
        }
    )
    frame.attrs["failed"] = dict(read.coverage.failed)
    return ExtractedFeatures(features.values, features.labels, frame)


class _SpeedMeter:
    """A progress that also tells how fast features are computed, decoding included."""

    def __init__(self, shown: Progress) -> None:
        self.shown, self.clips, self.seconds = shown, 0, 0.0

    @contextmanager
    def __call__(self, total: int, unit: str, description: str) -> Iterator[Callable[[int], None]]:
        """Shows and counts."""
        started, advanced = time.perf_counter(), 0

        def advance(steps: int) -> None:
            nonlocal advanced
            advanced += steps
            show(steps)

        with self.shown(total, unit, description) as show:
            yield advance
        if description == EXTRACTING:
            self.clips += advanced
            self.seconds += time.perf_counter() - started

    def in_record(self, world_size: int) -> dict[str, float]:
        """Clips per second of all ranks; nothing where no features were computed."""
        return {"clips_per_second": round(self.clips * world_size / self.seconds, 2)} if self.clips else {}


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
