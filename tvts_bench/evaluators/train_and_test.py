"""What has to hold of a split to train on and a split to test on, said before hours of decoding."""

import filecmp
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.evaluators.base import EvaluationError

SHOWN = 5  # names in a message; the rest is counted
TRAIN = "train"  # what data sets call the split to train on


@dataclass(frozen=True, kw_only=True)
class TrainAndTest:
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


def train_and_test(dataset: Dataset, train: str, test: str, *, allow_shared: bool) -> TrainAndTest:
    """The records of both splits.

    Raises:
        DatasetError: a split that is not there.
        EvaluationError: both are one split, a label is no class, a class of `test` has no clip in `train`, there is
            only one class, or a file is in both and that is not allowed.
    """
    if train not in dataset.splits or (train == test and not allow_shared):
        wrong = "has no" if train not in dataset.splits else "cannot be tested on its own"
        raise EvaluationError(
            f"{dataset.name} under {dataset.root} {wrong} split {train!r} to train on (it has:"
            f" {', '.join(dataset.splits)}); name two different ones with --train-split and --split, or add a list or"
            " folder for it"
        )
    both = TrainAndTest(train=dataset.records(train), test=dataset.records(test), shared=0)
    for split, records in ((train, both.train), (test, both.test)):
        _require_labels(dataset, split, records)
    _require_classes(dataset, train, test, both)
    found = shared_clips(both.train, both.test)
    if found and not allow_shared:
        raise EvaluationError(
            f"{len(found)} of {len(both.test)} clips of {dataset.name} {test} are also in {train}:"
            f" {_some(record.id for record in found)}; take them out, or allow it with --allow-shared-clips"
        )
    return TrainAndTest(train=both.train, test=both.test, shared=len(found))


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
        raise EvaluationError(
            f"{len(wrong)} clips of {dataset.name} {split} have labels that are no class: {wrong[0].id} has"
            f" {wrong[0].label}, and there are {count} classes, from 0 to {count - 1}"
        )


def _require_classes(dataset: Dataset, train: str, test: str, both: TrainAndTest) -> None:
    trained = {record.label for record in both.train}
    untrained = Counter(record.label for record in both.test if record.label not in trained)
    if untrained:
        names = _some(dataset.class_names[label] for label in sorted(untrained))
        raise EvaluationError(
            f"{train} of {dataset.name} has no clip of {len(untrained)} of the {len(dataset.class_names)} classes, as"
            f" {sum(untrained.values())} of {test} are: {names};"
            " add some, or take these classes out of the lists"
        )
    if len(trained) < 2:
        raise EvaluationError(
            f"all {len(both.train)} clips of {dataset.name} {train} are of one class,"
            f" {dataset.class_names[both.train[0].label]}: there is nothing to tell apart"
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
