"""Kinetics-400: ten-second clips of human actions from YouTube, of which every copy lacks some."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tvts_bench.datasets import files, label_lists, lines
from tvts_bench.datasets.base import (
    AnnotationError,
    Dataset,
    DatasetError,
    DatasetInfo,
    LoadOptions,
    SplitUnavailableError,
    VideoRecord,
)
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="Kinetics-400",
    splits=("train", "val", "test"),
    default_split="val",
    num_classes=400,
    # Rows of CVDF's lists; then files of CVDF's archives, and the copies of OpenMMLab (VideoMAE's lists), GluonCV
    # and the non-local networks (PySlowFast), which others trained on.
    official_sizes={
        "train": (246_534, 241_258, 240_436, 240_618, 234_643),
        "val": (19_906, 19_881, 19_796, 19_404, 19_761),
        "test": (39_805, 38_685),
    },
    url="https://github.com/cvdfoundation/kinetics-dataset",
    license="annotations CC BY 4.0; each video under its uploader's terms on YouTube",
    layout="train/, val/, test/ with the videos (class folders or not), and train.csv, val.csv, test.csv "
    "beside them or in annotations/",
    notes="Videos vanish from YouTube, so copies differ: state the coverage with every number. "
    "CVDF's replacements of corrupted files are preferred where replacement_for_corrupted_k400/ is there.",
)

LIST_FOLDERS = ("annotations", "k400/annotations", "labels")
NAME_FILES = ("kinetics_label_map_k400.txt", "label_map.txt", "classes.txt")
_SPLIT_NAMES = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
LISTS = {
    split: tuple(
        pattern.format(name)
        for pattern in (
            "{}.csv",
            "kinetics_{}.csv",
            "kinetics400_{}.csv",
            "k400_{}.csv",
            "{}_clean.csv",
            "kinetics400_{}_list_videos.txt",
            "{}.txt",
        )
        for name in names
    )
    for split, names in _SPLIT_NAMES.items()
}
REPLACEMENTS = ("replacement_for_corrupted_k400", "replacement")
COLUMNS = ("youtube_id",)  # that a table of CVDF has at least
_TIMES = re.compile(r"_\d{6}_\d{6}$")


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read CVDF's csv or `path label` lists; ids are file names without extension ("0wR5jVB-WPk_000417_000427").

    Classes come from a label map if there is one, else from the names in all csv lists, in alphabetical order.

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: there is no list.
        AnnotationError: a line that cannot be read.
    """
    options.refuse("k400", "fold", "variant")
    folders = files.list_folders(root, options, LIST_FOLDERS)
    lists = folders.lists(LISTS, INFO.default_split)
    if not lists:
        raise DatasetError(
            f"no list of k400 in {folders.described}; expected val.csv (CVDF's, or `path label` lines), "
            "or say --annotations FILE; for class folders without a list there is --dataset folder"
        )
    names = _class_names(folders, lists.values())
    tree = files.VideoTree(root=root, keys=_keys)
    readers = {split: partial(_read, path, split, names, tree) for split, path in lists.items()}
    return Dataset(name="k400", root=root, class_names=names, info=INFO.of_splits(lists), readers=readers)


def _keys(stem: str) -> tuple[str, ...]:
    """A file with times in its name is also known as `id_*`, for lists that leave the times out."""
    bare = _TIMES.sub("", stem)
    return (stem,) if bare == stem else (stem, f"{bare}_*")


def _class_names(folders: files.ListFolders, lists: Iterable[Path]) -> tuple[str, ...]:
    name_file = folders.find(NAME_FILES)
    if name_file:
        return lines.read_names(name_file)
    named = {
        row["label"]
        for path in lists
        if _is_cvdf(path)
        for _, row in lines.read_table(path, COLUMNS)
        if row.get("label")
    }
    return tuple(sorted(named)) or tuple(str(index) for index in range(INFO.num_classes or 0))


def _is_cvdf(path: Path) -> bool:
    """Whether a list is CVDF's table; VideoMAE's `path label` lists carry the same file names."""
    _, first = next(iter(lines.read_lines(path)), (0, ""))
    return "youtube_id" in first


def _read(path: Path, split: str, names: Sequence[str], tree: files.VideoTree) -> list[VideoRecord]:
    classes = {name: index for index, name in enumerate(names)}
    prefer = (*REPLACEMENTS, *_SPLIT_NAMES[split])
    is_cvdf = _is_cvdf(path)
    entries = _read_cvdf(path, split, classes) if is_cvdf else _read_paths(path, split, classes)
    expected_in = split if is_cvdf else ""
    return files.locate(entries, tree, listed_in=path, classes=names, prefer=prefer, expected_in=expected_in)


def _read_cvdf(path: Path, split: str, classes: Mapping[str, int]) -> list[files.ListedVideo]:
    """Entries of a CVDF table: label, youtube_id, time_start, time_end, split and columns nobody needs."""
    entries = []
    for number, row in lines.read_table(path, COLUMNS):
        if not row.get("label"):
            raise SplitUnavailableError(f"{path}, line {number}: no label; the {split} split cannot be evaluated")
        if row.get("split") and files.split_in_name(row["split"]) != split:
            raise AnnotationError(path, number, f"split {row['split']!r} in a list read as {split}")
        clip = _clip_name(path, number, row)
        label = lines.index_of_class(row["label"], classes, path, number)
        entries.append(files.ListedVideo(id=clip, names=(f"{clip}.mp4", row["youtube_id"]), label=label))
    return entries


def _clip_name(path: Path, number: int, row: Mapping[str, str]) -> str:
    """`id_start_end` with the times in seconds as six digits, as CVDF names its files."""
    if not row["youtube_id"]:
        raise AnnotationError(path, number, "no youtube_id")
    times = [row.get("time_start", ""), row.get("time_end", "")]
    if not any(times):
        return row["youtube_id"]
    try:
        start, end = (int(float(time)) for time in times)
    except (ValueError, OverflowError):
        raise AnnotationError(path, number, f"times {times} are not numbers of seconds") from None
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _read_paths(path: Path, split: str, classes: Mapping[str, int]) -> list[files.ListedVideo]:
    """Entries of a `path label` list; either the list or the files may leave the times out of a name."""
    entries = []
    for row in label_lists.read_rows(path, split):
        index = lines.label_index(row.label, classes, path, row.line)
        stem = files.stem(row.path)
        bare = _TIMES.sub("", stem)
        other = f"{bare}_*" if bare == stem else bare
        entries.append(files.ListedVideo(id=stem, names=(row.path, other), label=index))
    return entries
