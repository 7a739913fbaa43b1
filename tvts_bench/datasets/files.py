"""Where the videos and lists of a data set lie: folders are read once, not searched once a video."""

import errno
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from tvts_bench.datasets.base import DatasetError, LoadOptions, SplitUnavailableError, VideoRecord
from tvts_bench.datasets.lines import VIDEO_EXTENSIONS

log = logging.getLogger(__name__)


# Plain string operations: pathlib costs seconds on lists of 200,000 names.
def is_video_name(name: str) -> bool:
    """Whether a file's name ends like a video's, in either case."""
    _, dot, extension = name.rpartition(".")
    return dot + extension.lower() in VIDEO_EXTENSIONS


def stem(name: str) -> str:
    """Last part of a listed path without its video extension; other dots stay: `a/v1.2.mp4` and `v1.2` give `v1.2`."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] if is_video_name(last) else last


def is_hidden(name: str) -> bool:
    """Whether an entry of a folder is none of the user's: dot files, and what archivers leave behind."""
    return name.startswith(".") or name == "__MACOSX"


def walk_videos(root: Path) -> list[str]:
    """Paths relative to `root`, `/` between parts, of everything named like a video, sorted; hidden entries left out.

    A folder named `x.mp4` is such an entry too: it is for the decoder to refuse, not for us to lose. Links to folders
    are followed, each folder once.
    """
    seen: set[tuple[int, int]] = set()
    pending = [""]
    videos: list[str] = []
    while pending:
        folder = pending.pop()
        if (folder_id := identity(root / folder)) in seen:
            continue
        seen.add(folder_id)
        for entry in scan(root / folder):
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if is_video_name(entry.name):
                videos.append(relative)
            elif is_folder(entry):
                pending.append(relative)
    return sorted(videos)


def identity(path: Path) -> tuple[int, int]:
    """Device and inode: the same under all names of a file or folder."""
    status = path.stat()
    return status.st_dev, status.st_ino


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of `folder` that are not hidden, sorted by name.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"cannot read folder {folder}: {error.strerror or error}") from error


@dataclass(frozen=True, kw_only=True)
class VideoTree:
    """The videos below `root`, walked when the first is needed and known by name whatever their folder or extension.

    For sets whose file names are unique: a YouTube id is the same video in any folder, re-encoded or not.
    """

    root: Path
    keys: Callable[[str], tuple[str, ...]] = lambda stem: (stem,)  # names of a file; a query uses the first

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for relative in walk_videos(self.root):
            for key in self.keys(stem(relative)):
                by_stem.setdefault(key, []).append(relative)
        return by_stem

    def find(
        self, name: str, prefer: Sequence[str] = (), accept: Callable[[str], bool] = lambda _: True
    ) -> Path | None:
        """The file called `name`, whatever its extension and folder; None where there is none.

        Of several, the one that shares most of `name`'s path, then the preferred one, then the first by name.

        Args:
            name: as listed, with or without folders and extension.
            prefer: names of folders, the earlier the better.
            accept: whether a file may be taken, by its path below the root.
        """
        candidates = [relative for relative in self._by_stem.get(self.keys(stem(name))[0], ()) if accept(relative)]
        if len(candidates) < 2:  # of nearly every name; ranking costs seconds on lists of 200,000
            return self.root / candidates[0] if candidates else None
        wanted = PurePosixPath(name).parts[::-1]

        def rank(relative: str) -> tuple[int, int, str]:
            parts = PurePosixPath(relative).parts
            pairs = enumerate(zip(wanted, parts[::-1], strict=False))
            shared = next((i for i, (ours, theirs) in pairs if ours != theirs), min(len(wanted), len(parts)))
            preference = next((i for i, folder in enumerate(prefer) if folder in parts[:-1]), len(prefer))
            return -shared, preference, relative

        return self.root / min(candidates, key=rank)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedVideo:
    """One line of a list, before its file is looked for."""

    id: str
    names: tuple[str, ...]  # the file may be called any of these; the first is where it is expected
    label: int
    group: str | None = None


def locate(
    entries: Sequence[ListedVideo],
    tree: VideoTree,
    *,
    listed_in: Path,
    classes: Sequence[str],
    prefer: Sequence[str] = (),
    expected_in: str = "",
) -> list[VideoRecord]:
    """A record for each entry. One whose file is absent gets the path where it is expected: it is listed as failed.

    A file of that name in the folder of another class is another video, and not taken.

    Args:
        entries: the lines of one list.
        tree: where their files are.
        listed_in: the list, for messages.
        classes: names of the labels.
        prefer: as for `VideoTree.find`.
        expected_in: the folder below the root where files that are absent are expected.

    Raises:
        SplitUnavailableError: not one of the files is there.
    """
    elsewhere = _Elsewhere.of(classes)
    records, present = [], 0
    for entry in entries:
        accept = partial(elsewhere.accepts, entry)
        file = next((path for name in entry.names if (path := tree.find(name, prefer, accept))), None)
        expected = file or tree.root / expected_in / entry.names[0]
        records.append(VideoRecord(id=entry.id, path=expected, label=entry.label, group=entry.group))
        if file:
            present += 1
            elsewhere.refused.pop(entry.id, None)
    if elsewhere.refused:
        first, other = next(iter(elsewhere.refused.items()))
        log.warning(
            "%d videos listed in %s count as missing: files of their names are in folders of other classes only, "
            "the first: %r in %r", len(elsewhere.refused), listed_in, first, other,
        )  # fmt: skip
    if records and not present:
        raise SplitUnavailableError(
            f"none of the {len(records):,} videos listed in {listed_in} is under {tree.root} "
            f"(looked at every video file below it, for example for {entries[0].names[0]})"
        )
    return records


@dataclass(frozen=True, kw_only=True)
class _Elsewhere:
    """Whether files lie in a folder that is named for another class than theirs."""

    labels: Mapping[str, int]  # plain form of a class name -> label; empty where classes are numbers
    refused: dict[str, str] = field(default_factory=dict)  # id of an entry -> a file that was not taken

    @classmethod
    def of(cls, classes: Sequence[str]) -> "_Elsewhere":
        numbered = all(name.isdecimal() for name in classes)
        return cls(labels={} if numbered else {plain(name): label for label, name in enumerate(classes)})

    def accepts(self, entry: ListedVideo, relative: str) -> bool:
        """Whether a file may be the entry's: the folder in which a list has it is right whatever its name."""
        folder = _folder(relative)
        accepted = self.labels.get(plain(folder), entry.label) == entry.label or folder == _folder(entry.names[0])
        if not accepted:
            self.refused[entry.id] = relative
        return accepted


def _folder(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


@functools.lru_cache(maxsize=10_000)
def plain(name: str) -> str:
    """A class name without case, spaces and punctuation: how copies of a data set differ in their folders."""
    return "".join(character for character in name.casefold() if character.isalnum())


def video_folder(root: Path, folders: Sequence[str]) -> Path:
    """The first of `folders` that is under `root`, else `root` itself."""
    return next((root / folder for folder in folders if (root / folder).is_dir()), root)


@dataclass(frozen=True, kw_only=True)
class ListFolders:
    """Where the lists of a data set may lie: the folder the user names, or the root and its usual sub-folders."""

    given: Path | None  # one list, named by the user; the others may still lie beside it
    folders: tuple[Path, ...]

    def find(self, names: Sequence[str]) -> Path | None:
        """The first existing file of these names, the earlier name first."""
        return next((f / name for name in names for f in self.folders if (f / name).is_file()), None)

    def lists(self, names: Mapping[str, Sequence[str]], default: str) -> dict[str, Path]:
        """The list of each split: one that the user names is of the split its name tells, else of `default`."""
        if self.given:
            return {split_in_name(self.given.name) or default: self.given}
        return {split: path for split, own in names.items() if (path := self.find(own))}

    @property
    def described(self) -> str:
        """The folders for a message."""
        return " or ".join(str(folder) for folder in self.folders)


def list_folders(root: Path, options: LoadOptions, subfolders: Sequence[str]) -> ListFolders:
    """Where to look for lists: `--annotations` if given, else `root` and its `subfolders`.

    Args:
        root: the folder that holds the data set.
        options: what the user gave.
        subfolders: below the root; those that are absent are passed over.

    Raises:
        DatasetError: what `--annotations` names does not exist.
    """
    default = (root, *(root / sub for sub in subfolders if (root / sub).is_dir()))
    if options.annotations is None:
        return ListFolders(given=None, folders=default)
    if options.annotations.is_dir():
        return ListFolders(given=None, folders=(options.annotations,))
    if options.annotations.is_file():
        return ListFolders(given=options.annotations, folders=(options.annotations.parent, *default))
    problem = "are neither a file nor a folder" if options.annotations.exists() else "do not exist"
    raise DatasetError(f"annotations {options.annotations} {problem}; give a list or a folder of lists")


def fold_folders(dataset: str, root: Path, options: LoadOptions, subfolders: Sequence[str], needs: str) -> ListFolders:
    """Where to look for the lists of one of three official folds.

    Args:
        dataset: the plug-in's name, for messages.
        root: the folder that holds the data set.
        options: what the user gave.
        subfolders: as for `list_folders`.
        needs: what a folder of lists has to hold, for a message.

    Raises:
        DatasetError: a variant, a fold that is not 1, 2 or 3, or one file in place of the folder of lists.
    """
    options.refuse(dataset, "variant")
    if options.fold not in (1, 2, 3):
        raise DatasetError(f"{dataset} has the folds 1, 2 and 3, not {options.fold}")
    folders = list_folders(root, options, subfolders)
    if folders.given:
        raise DatasetError(f"{dataset} needs the folder with {needs}, {folders.given} is one file")
    return folders


SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Words in the names of lists and folders, and the split each means."""


def split_in_name(name: str) -> str | None:
    """The split a list's name tells: `sthv2_val_list_videos.txt` is `val`; None if it tells none."""
    words = "".join(c.lower() if c.isalnum() else " " for c in name).split()
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
