"""HMDB-51: 6,766 clips from films and YouTube; three official splits of 70 training and 30 test clips a class."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tvts_bench.datasets import files, lines
from tvts_bench.datasets.base import AnnotationError, Dataset, DatasetError, DatasetInfo, LoadOptions, VideoRecord
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="HMDB-51",
    splits=("train", "test"),
    default_split="test",
    num_classes=51,
    official_sizes={"train": (3_570,), "test": (1_530,)},  # the same in all three folds
    url="https://serre.lab.brown.edu/hmdb51.html",
    license="CC BY 4.0 (annotations); clips from films and YouTube",
    layout="hmdb51_org/CLASS/*.avi (or CLASS/*.avi) and testTrainMulti_7030_splits/*_test_split1.txt ...",
    notes="A group is a class and its source, the file name up to the class (smile_YouTube_smiles!): no such group "
    "is on both sides of an official split, so it is what the authors kept apart.",
)

VIDEO_FOLDERS = ("hmdb51_org", "hmdb51", "videos")
LIST_FOLDERS = ("testTrainMulti_7030_splits", "test_train_splits", "splits", "annotations")
SPLIT_OF_FLAG = {"0": None, "1": "train", "2": "test"}  # 0: left out, so that every class has 70 and 30
_LIST = re.compile(r"(?P<name>.+)_test_split(?P<fold>[123])\.txt")
_ATTRIBUTES = re.compile(r"_[fhlu]_(?:cm|nm)_np\d+_[a-z]{2}_[a-z]{3}_\d+$")


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read fold `options.fold` from one list a class; ids are `CLASS/FILE`, classes are in alphabetical order.

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: the fold is not 1, 2 or 3, or its lists are absent.
    """
    folders = files.fold_folders("hmdb51", root, options, LIST_FOLDERS, "its split files")
    lists = next((lists for folder in folders.folders if (lists := _lists(folder, options.fold))), {})
    if not lists:
        raise DatasetError(f"no *_test_split{options.fold}.txt of hmdb51 in {folders.described}; unpack the splits")
    names = tuple(sorted(lists))
    # Class folders lie under the video folder; lists in `root` itself do not matter to it.
    tree = files.VideoTree(root=files.video_folder(root, VIDEO_FOLDERS))
    readers = {split: partial(_read, split, names, lists, tree) for split in INFO.splits}
    return Dataset(name=f"hmdb51-fold{options.fold}", root=root, class_names=names, info=INFO, readers=readers)


def _lists(folder: Path, fold: int) -> dict[str, Path]:
    """The list of each class in `folder`, by one look into it."""
    matches = ((_LIST.fullmatch(entry.name), Path(entry.path)) for entry in files.scan(folder))
    return {match["name"]: path for match, path in matches if match and int(match["fold"]) == fold}


def _read(split: str, names: Sequence[str], lists: Mapping[str, Path], tree: files.VideoTree) -> list[VideoRecord]:
    entries = []
    for label, name in enumerate(names):
        for line, text in lines.read_lines(lists[name]):
            file, _, flag = text.rpartition(" ")
            if not file or flag not in SPLIT_OF_FLAG:
                raise AnnotationError(lists[name], line, f"expected `FILE flag` with flag 0, 1 or 2, got {text!r}")
            if SPLIT_OF_FLAG[flag] == split:
                listed = f"{name}/{file.strip()}"
                entries.append(files.ListedVideo(id=listed, names=(listed,), label=label, group=_source(file, name)))
    return files.locate(entries, tree, listed_in=lists[names[0]].parent, classes=names)


def _source(file: str, name: str) -> str | None:
    """`CLASS_SOURCE` from `SOURCE_CLASS_f_cm_np1_fr_med_0.avi`; None where a file is not named like that."""
    stem = files.stem(file.strip())
    source = _ATTRIBUTES.sub("", stem)
    if source == stem or not source.endswith(f"_{name}"):
        return None
    return f"{name}_{source.removesuffix(f'_{name}')}"
