"""Anyone's own videos, one folder per class: the name of the folder is the label."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from tvts_bench.datasets import files
from tvts_bench.datasets.base import Dataset, DatasetError, DatasetInfo, LoadOptions, VideoRecord
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="One folder per class",
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
NOT_A_VIDEO = "files of class folders that are not named like a video"
LINKS = "links to a folder that has a class already, or that holds the class folders"
SAME_FILE = "files that are a clip of another class, too, by a link"

_Identity = tuple[int, int]  # device and inode


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read `root`/CLASS/...; ids are paths below the split's folder with `/` between parts, in sorted order.

    Where every folder under the root is named train, val (or valid, validation) or test and holds folders itself, those
    are the splits; else there is one, `all`.

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: no class folder with a video, or a video beside the class folders.
    """
    options.refuse("folder", "annotations", "fold", "variant")
    folders = _split_folders(root)
    walked = {split: walk_classes(folder) for split, folder in folders.items()}
    names = tuple(sorted({name for classes in walked.values() for name in classes.videos}))
    if not names:
        raise DatasetError(
            f"{root} holds no folder with videos; expected CLASS/VIDEO with endings such as .mp4 or .avi"
        )
    readers = {split: partial(_read, folders[split], classes.videos, names) for split, classes in walked.items()}
    default = next(split for split in PREFERRED if split in readers)
    info = replace(INFO, splits=tuple(readers), default_split=default, num_classes=len(names))
    left_out: dict[str, list[str]] = {}
    for split, classes in walked.items():
        for reason, paths in classes.left_out.items():
            left_out.setdefault(reason, []).extend(str(folders[split].relative_to(root) / path) for path in paths)
    return Dataset(name="folder", root=root, class_names=names, info=info, readers=readers, left_out=left_out)


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


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """What lies in the class folders below a root. Paths are relative to it, with `/` between parts, sorted."""

    videos: dict[str, list[str]] = field(default_factory=dict)  # class -> its videos; no class without any
    left_out: dict[str, list[str]] = field(default_factory=dict)  # why -> paths


@dataclass(frozen=True, kw_only=True)
class _Video:
    path: str
    name: str  # of its class
    file: _Identity | None  # None: a link that leads nowhere
    is_link: bool


@dataclass(kw_only=True)
class _Walk:
    """A walk through the class folders of `root`. Folders come before links: a file's class is where it lies itself."""

    root: Path
    owners: dict[_Identity, str]  # folder -> the class that it belongs to; "" of those that hold the class folders
    videos: list[_Video] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # class and path of links to folders, not yet followed
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def enter(self, pending: list[tuple[str, str]]) -> None:
        """Walk through folders, given as class and path below the root, each once."""
        while pending:
            name, folder = pending.pop()
            identity = files.identity(self.root / folder)
            if identity in self.owners:
                if self.owners[identity] != name:
                    self.leave_out(LINKS, folder)
                continue
            self.owners[identity] = name
            for entry in files.scan(self.root / folder):
                path = f"{folder}/{entry.name}"
                if files.is_video_name(entry.name):
                    self.videos.append(_video(entry, path, name, identity[0]))
                elif files.is_folder(entry):
                    (self.links if entry.is_symlink() else pending).append((name, path))
                else:
                    self.leave_out(NOT_A_VIDEO, path)

    def leave_out(self, reason: str, path: str) -> None:
        """Note a path that is no clip."""
        self.left_out.setdefault(reason, []).append(path)


def walk_classes(root: Path) -> ClassFolders:
    """The videos of each folder in `root`, at any depth. Links to folders are followed.

    Raises:
        DatasetError: a folder that cannot be read, or a video beside the class folders.
    """
    walk = _Walk(root=root, owners={files.identity(folder): "" for folder in _and_parents(root)})
    folders: list[tuple[str, str]] = []
    for entry in files.scan(root):
        if files.is_folder(entry):
            (walk.links if entry.is_symlink() else folders).append((entry.name, entry.name))
        elif files.is_video_name(entry.name):
            raise DatasetError(f"{entry.path} lies beside the class folders, so it has no class; move it into one")
    walk.enter(folders)
    while walk.links:
        links, walk.links = sorted(walk.links), []
        for link in links:
            walk.enter([link])
    return _of_one_class(walk)


def _of_one_class(walk: _Walk) -> ClassFolders:
    """The videos by class, without those that another class has already, the first by name unless it is a link."""
    owners: dict[_Identity, str] = {}
    videos: dict[str, list[str]] = {}
    for video in sorted(walk.videos, key=lambda video: (video.is_link, video.path)):
        if video.file and owners.setdefault(video.file, video.name) != video.name:
            walk.leave_out(SAME_FILE, video.path)
        else:
            videos.setdefault(video.name, []).append(video.path)
    left_out = {reason: sorted(paths) for reason, paths in sorted(walk.left_out.items())}
    if NOT_A_VIDEO in left_out:
        paths = left_out.pop(NOT_A_VIDEO)
        left_out[f"{NOT_A_VIDEO} ({_endings(paths)})"] = paths
    return ClassFolders(videos={name: sorted(paths) for name, paths in sorted(videos.items())}, left_out=left_out)


def _endings(paths: Iterable[str]) -> str:
    """The most frequent endings, and how often each."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "none" for path in paths)
    return ", ".join(f"{ending} {count:,}" for ending, count in counts.most_common(5))


def _video(entry: os.DirEntry[str], path: str, name: str, device: int) -> _Video:
    is_link = entry.is_symlink()
    file: _Identity | None = (device, entry.inode())  # known without a look at each of 240,000 files
    if is_link:
        try:
            file = files.identity(Path(entry.path))
        except OSError:
            file = None
    return _Video(path=path, name=name, file=file, is_link=is_link)


def _and_parents(root: Path) -> Iterable[Path]:
    resolved = root.resolve()
    return (resolved, *resolved.parents)
