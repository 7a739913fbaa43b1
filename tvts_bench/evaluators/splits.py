"""The splits that evaluators start from: what has to hold of two used together, and the features of each."""

import filecmp
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.measured import SplitCoverage, damage_line, failure_line
from tvts_bench.runtime import Runtime
from tvts_bench.training.scoring import Scores
from tvts_bench.video.spec import ClipSpec

SHOWN = 5  # names in a message; the rest is counted
TRAIN = "train"  # what data sets call the split to train on


@dataclass(frozen=True, kw_only=True)
class CheckedSplits:
    """Two splits that may be used together."""

    train: tuple[VideoRecord, ...]
    test: tuple[VideoRecord, ...]
    shared: int  # test clips whose file is also in `train`; more than none only where that was allowed

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        if not self.shared:
            return ()
        return (f"{self.shared} of {len(self.test)} test clips are also trained on: this is no test accuracy",)


def check_splits(dataset: Dataset, train: str, test: str, *, allow_shared: bool) -> CheckedSplits:
    """The records of both splits, checked before hours of decoding.

    Args:
        dataset: has the splits.
        train: the one to train on.
        test: the one to test on.
        allow_shared: whether the same clips may be in both.

    Raises:
        DatasetError: a split that is not there.
        UserError: both are one split, a label is no class, a class of `test` has no clip in `train`, there is
            only one class, or a file is in both and that is not allowed.
    """
    if train not in dataset.splits or (train == test and not allow_shared):
        wrong = "has no" if train not in dataset.splits else "cannot be tested on its own"
        raise UserError(
            f"{dataset.name} under {dataset.root} {wrong} split {train!r} to train on (it has:"
            f" {', '.join(dataset.splits)}); name two different ones with --train-split and --split, or add a list or"
            " folder for it"
        )
    both = CheckedSplits(train=dataset.records(train), test=dataset.records(test), shared=0)
    for split, records in ((train, both.train), (test, both.test)):
        _require_labels(dataset, split, records)
    _require_classes(dataset, train, test, both)
    shared = shared_clips(both.train, both.test)
    if shared and not allow_shared:
        raise UserError(
            f"{len(shared)} of {len(both.test)} clips of {dataset.name} {test} are also in {train}:"
            f" {_some(record.id for record in shared)}; take them out, or allow it with --allow-shared-clips"
        )
    return replace(both, shared=len(shared))


def shared_clips(train: Sequence[VideoRecord], test: Sequence[VideoRecord]) -> list[VideoRecord]:
    """Clips of `test` that are also in `train`: the same file (links are followed), or a copy of the same id.

    Equal ids alone say nothing: in folders of videos, train/jump/1.mp4 and test/jump/1.mp4 are both jump/1.mp4.
    """
    files = {_file(record)[0] for record in train}
    by_id = {record.id: record for record in train}
    return [record for record in test if _file(record)[0] in files or _is_copy(record, by_id.get(record.id))]


def _file(record: VideoRecord) -> tuple[tuple[int, int] | str, int]:
    """What is one file whatever its names, and its size in bytes."""
    try:
        status = os.stat(record.path)  # noqa: PTH116 - a third of the time of Path.stat
    except OSError:
        return str(record.path), -1  # a file that is not there is the same only under the same name
    return (status.st_dev, status.st_ino), status.st_size


def _is_copy(record: VideoRecord, other: VideoRecord | None) -> bool:
    if other is None or _file(record)[1] != _file(other)[1]:
        return False
    try:
        return filecmp.cmp(record.path, other.path, shallow=False)
    except OSError:
        return False  # which cannot be read cannot be trained on either


def _require_labels(dataset: Dataset, split: str, records: Sequence[VideoRecord]) -> None:
    count = len(dataset.class_names)
    wrong = [record for record in records if not 0 <= record.label < count]
    if wrong:
        raise UserError(
            f"{len(wrong)} clips of {dataset.name} {split} have labels that are no class: {wrong[0].id} has"
            f" {wrong[0].label}, and there are {count} classes, from 0 to {count - 1}"
        )


def _require_classes(dataset: Dataset, train: str, test: str, both: CheckedSplits) -> None:
    trained = {record.label for record in both.train}
    untrained = Counter(record.label for record in both.test if record.label not in trained)
    if untrained:
        names = _some(dataset.class_names[label] for label in sorted(untrained))
        raise UserError(
            f"{train} of {dataset.name} has no clip of {len(untrained)} of the {len(dataset.class_names)} classes, as"
            f" {sum(untrained.values())} of {test} are: {names};"
            " add some, or take these classes out of the lists"
        )
    if len(trained) < 2:
        raise UserError(
            f"all {len(both.train)} clips of {dataset.name} {train} are of one class,"
            f" {dataset.class_names[both.train[0].label]}: there is nothing to tell apart"
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFeatures:
    """One split under every clip of an evaluation (its seeds, its controls), all over the same videos.

    A video that cannot be read under one of them (it timed out once, say) is left out of all: their numbers are
    compared, and averaged query by query.
    """

    coverage: SplitCoverage
    by_clip: Mapping[ClipSpec, Features]

    def under(self, clip: ClipSpec) -> Features:
        """The features of the videos that every clip could be cut from."""
        return self.by_clip[clip].only(self._read)

    @cached_property
    def _read(self) -> frozenset[str]:
        return _read_by_all(tuple(self.by_clip.values()))

    @property
    def decoders(self) -> Counter[str]:
        """How many videos each decoder read."""
        return _most(features.decoders for features in self.by_clip.values())

    @property
    def computed_by(self) -> Counter[str]:
        """How many videos were embedded on which device, in which batches, with which versions."""
        return _most(features.computed_by for features in self.by_clip.values())


def extract_split(
    backbone: Backbone,
    dataset: Dataset,
    split: str,
    clips: Sequence[ClipSpec],
    *,
    decoder: str,
    dtype: Dtype,
    runtime: Runtime,
) -> SplitFeatures:
    """The features of a split under each clip specification, held together in memory: N x D float32 each.

    Args:
        backbone: extracts them.
        dataset: has the split.
        split: its name.
        clips: how clips are cut.
        decoder: reads them.
        dtype: of the computation.
        runtime: device, workers, store; with `strict`, whatever cannot be measured is refused.

    Raises:
        UserError: nothing can be read, or something cannot or is damaged and `runtime.strict` is set.
    """
    records, fingerprint = dataset.records(split), dataset.fingerprint(split)
    by_clip: dict[ClipSpec, Features] = {}
    for clip in clips:
        (features,) = extract(
            [backbone], records, fingerprint, clip=clip, decoder=decoder, dtype=dtype, runtime=runtime
        )
        require_measured(features, len(records), split, strict=runtime.strict)
        by_clip[clip] = features
    every = tuple(by_clip.values())
    transient = {name for features in every for name in features.transient}
    damaged = {name for features in every for name in features.damaged}
    reasons: dict[str, str] = {}
    for features in every:
        reasons = {**features.failed, **reasons}  # the first reason stays
    coverage = SplitCoverage(
        split=split,
        fingerprint=fingerprint,
        listed=len(records),
        used=len(_read_by_all(every)),
        failed={record.id: reasons[record.id] for record in records if record.id in reasons},
        official=tuple(dataset.info.official_sizes.get(split, ())),
        files=by_clip[clips[0]].files,
        transient=tuple(record.id for record in records if record.id in transient),
        damaged=tuple(record.id for record in records if record.id in damaged and record.id not in reasons),
    )
    return SplitFeatures(coverage=coverage, by_clip=by_clip)


def require_measured(clips: Features | Scores, listed: int, what: str, *, strict: bool) -> None:
    """Refuse measurements of nothing, or with `strict` of less than everything.

    Args:
        clips: what has been read.
        listed: how many clips there are.
        what: the clips are of: a split.
        strict: whether every clip is needed, undamaged.

    Raises:
        UserError: with the first clip that cannot be measured.
    """
    if clips.failed and (strict or not clips.ids):
        first, reason = next(iter(clips.failed.items()))
        way_out = "; without --strict they are left out and counted" if clips.ids else ""
        raise UserError(
            f"{len(clips.failed)} of {listed} clips of {what} cannot be measured, the first:"
            f" {failure_line(first, reason)}{way_out}"
        )
    if clips.damaged and strict:
        raise UserError(f"{damage_line(clips.damaged, listed, what)}; without --strict they are measured and named")


def _read_by_all(every: Sequence[Features]) -> frozenset[str]:
    return frozenset.intersection(*(frozenset(features.ids) for features in every))


def _most(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The largest of each count: a video that was read for several clips counts once."""
    most: Counter[str] = Counter()
    for count in counts:
        most |= Counter(count)
    return most
