"""Splits that go together, and those that do not."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.colours import colours_info
from tests.support.plain_videos import write_plain_video
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.evaluators.splits import check_splits, shared_clips

NAMES = ("red", "green", "blue")
INFO = colours_info("test", "train", num_classes=3)


def dataset(splits: Mapping[str, Sequence[VideoRecord]]) -> Dataset:
    readers = {name: (lambda records=tuple(records): records) for name, records in splits.items()}
    return Dataset(name="colours", root=Path("somewhere"), class_names=NAMES, info=INFO, readers=readers)


def record(name: str, label: int = 0, folder: str = "nowhere") -> VideoRecord:
    return VideoRecord(id=name, path=Path(folder) / f"{name}.mp4", label=label)


TRAIN = (record("a", 0), record("b", 1))
TEST = (record("c", 0), record("d", 1))


def refused(splits: Mapping[str, Sequence[VideoRecord]], train: str = "train", test: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        check_splits(dataset(splits), train, test, allow_shared=False)
    return str(caught.value)


def test_two_splits_of_the_same_classes_go_together() -> None:
    both = check_splits(dataset({"train": TRAIN, "test": TEST}), "train", "test", allow_shared=False)
    assert (both.train, both.test, both.shared, both.notes) == (TRAIN, TEST, 0, ())


def test_a_class_with_no_training_clip_is_named() -> None:
    message = refused({"train": TRAIN, "test": (*TEST, record("e", 2), record("f", 2))})
    assert "train of colours has no clip of 1 of the 3 classes, as 2 of test are: blue" in message


def test_labels_out_of_range_are_named() -> None:
    message = refused({"train": (*TRAIN, record("odd", 3)), "test": TEST})
    assert "odd has 3, and there are 3 classes, from 0 to 2" in message
    assert "odd has -1" in refused({"train": TRAIN, "test": (*TEST, record("odd", -1))})


def test_one_class_tells_nothing_apart() -> None:
    assert "of one class, red" in refused({"train": TRAIN[:1], "test": TEST[:1]})


def test_a_missing_split_says_what_is_there() -> None:
    assert "has no split 'train' to train on (it has: all)" in refused({"all": TRAIN}, test="all")
    assert "cannot be tested on its own split 'train'" in refused({"train": TRAIN}, test="train")


def test_shared_clips_are_named_and_counted_and_only_used_if_allowed() -> None:
    splits = {"train": (*TRAIN, TEST[1]), "test": TEST}
    assert "1 of 2 clips of colours test are also in train: d;" in refused(splits)
    assert "--allow-shared-clips" in refused(splits)
    both = check_splits(dataset(splits), "train", "test", allow_shared=True)
    assert both.shared == 1
    assert both.notes == ("1 of 2 test clips are also trained on: this is no test accuracy",)


def test_a_file_is_shared_under_any_name(tmp_path: Path) -> None:
    path = write_plain_video(tmp_path / "train" / "a.mp4", (200, 0, 0))
    for name in ("soft", "hard", "copy", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "soft" / "b.mp4").symlink_to(path)
    (tmp_path / "hard" / "c.mp4").hardlink_to(path)
    shutil.copy(path, tmp_path / "copy" / "a.mp4")
    write_plain_video(tmp_path / "other" / "a.mp4", (0, 0, 200), frames=9)
    train = [record("a", folder=str(tmp_path / "train"))]
    test = [record(name, folder=str(tmp_path / folder)) for folder, name in (("soft", "b"), ("hard", "c"))]
    same_id = [record("a", folder=str(tmp_path / folder)) for folder in ("copy", "other")]
    assert shared_clips(train, [*test, *same_id]) == [*test, same_id[0]]  # other/a.mp4 is another video of that name
