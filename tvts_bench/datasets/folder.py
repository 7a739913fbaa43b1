"""Anyone's own videos, a folder a class: the name of the folder is the label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tvts_bench.datasets import files
from tvts_bench.datasets.base import Dataset, DatasetError, DatasetInfo, LoadOptions, VideoRecord
from tvts_bench.datasets.class_folders import ClassFolders, walk_classes
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="A folder a class",
    splits=("all", "train", "val", "test"),
    default_split="all",
    num_classes=None,
    official_sizes={},
    url="your own",
    license="your own",
    layout="CLASS/*.mp4 (deeper folders count to their class), or train/CLASS/*.mp4, val/CLASS/*.mp4, test/CLASS/*.mp4",
    notes="Everything named like a video is one, readable or not. Other files of class folders, and links to what has "
    "a class already, are left out and counted. Hidden entries are passed over.",
)

PREFERRED = ("val", "test", "train", "all")  # the default split is the first of these that is there


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read `root`/CLASS/...; ids are paths below the split's folder with `/` between parts, in sorted order.

    Where every folder under the root is named train, val (or valid, validation) or test and holds folders itself, those
    are the splits; else there is one, `all`.

    Raises:
        DatasetError: no class folder with a video, or a video beside the class folders.
    """
    options.refuse("folder", "annotations", "fold", "variant")
    folders = _split_folders(root)
    walked = {split: walk_classes(folder) for split, folder in folders.items()}
    found = {split: classes.videos for split, classes in walked.items()}
    names = tuple(sorted({name for classes in found.values() for name in classes}))
    if not names:
        raise DatasetError(
            f"{root} holds no folder with videos; expected CLASS/VIDEO with endings such as .mp4 or .avi"
        )
    readers: dict[str, Callable[[], Sequence[VideoRecord]]] = {
        split: partial(_read, folders[split], classes, names) for split, classes in found.items()
    }
    default = next(split for split in PREFERRED if split in readers)
    info = replace(INFO, splits=tuple(readers), default_split=default, num_classes=len(names))
    left_out = _left_out({folders[split].relative_to(root): classes for split, classes in walked.items()})
    return Dataset(name="folder", root=root, class_names=names, info=info, readers=readers, left_out=left_out)


def _left_out(walked: Mapping[Path, ClassFolders]) -> dict[str, list[str]]:
    """Why -> files below the root that are no records. `walked`: folder of a split below the root -> its classes."""
    left_out: dict[str, list[str]] = {}
    for folder, classes in walked.items():
        for reason, paths in classes.left_out.items():
            left_out.setdefault(reason, []).extend(str(folder / path) for path in paths)
    return left_out


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split: train, val and test where exactly such folders are there, else the root as `all`."""
    folders = [Path(entry.path) for entry in files.scan(root) if files.is_folder(entry)]
    splits = {files.SPLIT_WORDS.get(folder.name.lower(), ""): folder for folder in folders}
    holds_classes = all(any(files.is_folder(entry) for entry in files.scan(folder)) for folder in folders)
    if not folders or "" in splits or len(splits) < len(folders) or not holds_classes:
        return {"all": root}
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _read(folder: Path, classes: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[VideoRecord]:
    return [
        VideoRecord(id=video, path=folder / video, label=label)
        for label, name in enumerate(names)
        for video in classes.get(name, ())
    ]
