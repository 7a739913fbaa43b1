"""UCF-101: 13,320 clips cut from 2,500-odd source videos; three official splits that never share a source."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tvts_bench.datasets import files, lines
from tvts_bench.datasets.base import AnnotationError, Dataset, DatasetError, DatasetInfo, LoadOptions, VideoRecord
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="UCF-101",
    splits=("train", "test"),
    default_split="test",
    num_classes=101,
    official_sizes={"train": (9_537, 9_586, 9_624), "test": (3_783, 3_734, 3_696)},  # of folds 1, 2 and 3
    url="https://www.crcv.ucf.edu/data/UCF101.php",
    license="none stated; clips from YouTube, for research",
    layout="UCF-101/CLASS/*.avi and ucfTrainTestlist/ with classInd.txt, trainlist01.txt, testlist01.txt ...",
    notes="A group is a class and its source video (ApplyEyeMakeup_g08): clips of one group are near-duplicates.",
)

VIDEO_FOLDERS = ("UCF-101", "UCF101", "videos")
LIST_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "annotations")
_SOURCE = re.compile(r"_g(\d+)_c\d+$", re.IGNORECASE)


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read fold `options.fold`; ids are the listed names ("HandstandPushups/v_HandStandPushups_g01_c01.avi").

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: the fold is not 1, 2 or 3, or its lists are absent.
        AnnotationError: a line of classInd.txt that is not `number name`.
    """
    folders = files.fold_folders("ucf101", root, options, LIST_FOLDERS, "classInd.txt and its lists")
    class_file = folders.find(("classInd.txt",))
    if class_file is None:
        raise DatasetError(f"no classInd.txt of ucf101 in {folders.described}; unzip ucfTrainTestlist there")
    names = _class_names(class_file)
    lists = folders.lists({split: (f"{split}list{options.fold:02d}.txt",) for split in INFO.splits}, INFO.default_split)
    # Lists and copies differ in HandstandPushups and HandStandPushups, in the folder and in the file names.
    tree = files.VideoTree(root=files.video_folder(root, VIDEO_FOLDERS), keys=lambda name: (name.casefold(),))
    if not lists:
        raise DatasetError(f"no testlist{options.fold:02d}.txt of ucf101 in {folders.described}")
    sizes = {split: (every[options.fold - 1],) for split, every in INFO.official_sizes.items()}
    return Dataset(
        name=f"ucf101-fold{options.fold}",
        root=root,
        class_names=names,
        info=INFO.of_splits(lists, official_sizes=sizes),
        readers={split: partial(_read, path, names, tree) for split, path in lists.items()},
    )


def _class_names(path: Path) -> tuple[str, ...]:
    """Names from `classInd.txt`: `1 ApplyEyeMakeup`, numbered from 1 without gaps, in any order."""
    numbered: dict[int, str] = {}
    for line, text in lines.read_lines(path):
        number, _, name = text.partition(" ")
        if not lines.is_index(number) or not name.strip():
            raise AnnotationError(path, line, f"expected `number class`, got {text!r}")
        if int(number) in numbered or name.strip() in numbered.values():
            raise AnnotationError(path, line, f"class {text!r} is listed twice")
        numbered[int(number)] = name.strip()
    if sorted(numbered) != list(range(1, len(numbered) + 1)) or not numbered:
        raise DatasetError(f"{path} does not number its {len(numbered)} classes from 1 without gaps")
    return tuple(numbered[number] for number in sorted(numbered))


def _read(path: Path, names: Sequence[str], tree: files.VideoTree) -> list[VideoRecord]:
    """Records of a train list (`CLASS/FILE number`) or a test list (`CLASS/FILE`)."""
    entries = [_entry(path, number, text, names) for number, text in lines.read_lines(path)]
    return files.locate(entries, tree, listed_in=path, classes=names)


def _entry(path: Path, number: int, text: str, names: Sequence[str]) -> files.ListedVideo:
    parts = (text, "") if files.is_video_name(text) else lines.split_path_and_label(text)
    if parts is None or "/" not in parts[0]:
        raise AnnotationError(path, number, f"expected `CLASS/FILE` or `CLASS/FILE number`, got {text!r}")
    name, written = parts
    folder = name.split("/")[-2]
    if written:  # 1-based, and the label even where the folder says otherwise: `check` reports that
        if not lines.is_index(written) or not 1 <= int(written) <= len(names):
            raise AnnotationError(path, number, f"class number {written!r} is not one of 1 to {len(names)}")
        label = int(written) - 1
    else:
        spelled = next((name for name in names if name.casefold() == folder.casefold()), folder)
        label = lines.index_of_class(spelled, {name: index for index, name in enumerate(names)}, path, number)
    source = _SOURCE.search(files.stem(name))
    return files.ListedVideo(id=name, names=(name,), label=label, group=source and f"{folder}_g{int(source[1]):02d}")
