"""The videos of folders that are classes, each once: what links give a second label is named, not counted twice."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tvts_bench.datasets import files
from tvts_bench.datasets.base import DatasetError

NOT_A_VIDEO = "files of class folders that are not named like a video"
LINKS = "links to a folder that has a class already, or that holds the class folders"
SAME_FILE = "files that are a clip of another class, too, by a link"

_Identity = tuple[int, int]  # device and inode


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
            status = (self.root / folder).stat()
            identity = (status.st_dev, status.st_ino)
            if identity in self.owners:
                if self.owners[identity] != name:
                    self.leave_out(LINKS, folder)
                continue
            self.owners[identity] = name
            for entry in files.scan(self.root / folder):
                path = f"{folder}/{entry.name}"
                if files.is_video_name(entry.name):
                    self.videos.append(_video(entry, path, name, status.st_dev))
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
    walk = _Walk(root=root, owners={_identity(folder): "" for folder in _and_parents(root)})
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
            file = _identity(Path(entry.path))
        except OSError:
            file = None
    return _Video(path=path, name=name, file=file, is_link=is_link)


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return status.st_dev, status.st_ino


def _and_parents(root: Path) -> Iterable[Path]:
    resolved = root.resolve()
    return (resolved, *resolved.parents)
