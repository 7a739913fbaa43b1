"""Anyone's own videos, listed with their labels: `path label` lines as VideoMAE and PySlowFast read them."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tvts_bench.datasets import files, lines
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
    title="A list of paths and labels",
    splits=("all", "train", "val", "test"),
    default_split="val",
    num_classes=None,
    official_sizes={},
    url="your own",
    license="your own",
    layout="train.csv, val.csv, test.csv (or --annotations FILE) with `path label` or `path,label` lines; "
    "paths absolute or below the root",
    notes="Labels are whole numbers from 0, or names. classes.txt beside the list names the classes, one a line. "
    "A list named for no split is the split `all`.",
)

LISTS = {split: (f"{split}.csv", f"{split}.txt") for split in ("train", "val", "test")}
NAME_FILES = ("classes.txt", "class_names.txt", "label_map.txt")
HEADER_PATHS = frozenset({"path", "video", "video_path", "filename", "file", "name"})
HEADER_LABELS = frozenset({"label", "class", "category", "target", "label_id"})
MOST_CLASSES = 100_000  # a larger number is no class but an id or a time
TWO_NUMBERS = re.compile(r"[0-9]+[\s,]+[0-9]+")  # `path frames label`, as lists of extracted frames have it
PREFERRED = ("val", "test", "train", "all")  # the default split is the first of these that is there


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a list."""

    line: int
    path: str
    label: str


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read the lists; ids are the paths as listed.

    Raises:
        DatasetError: no list is found, or one is empty.
        AnnotationError: a malformed line, numbers and names as labels in one data set, a label out of range.
    """
    options.refuse("list", "fold", "variant")
    folders = files.list_folders(root, options, ())
    if folders.given:
        found = {files.split_in_name(folders.given.name) or "all": folders.given}
    else:
        searched = {split: folders.find(names) for split, names in LISTS.items()}
        found = {split: path for split, path in searched.items() if path}
    if not found:
        raise DatasetError(f"no train.csv, val.csv or test.csv in {folders.described}; say --annotations FILE")
    rows = {path: _rows(path) for path in found.values()}
    name_file = folders.find(NAME_FILES)
    names = lines.read_names(name_file) if name_file else _names(rows)
    readers: dict[str, Callable[[], Sequence[VideoRecord]]] = {
        split: partial(_read, path, rows[path], names, root) for split, path in found.items()
    }
    default = next(split for split in PREFERRED if split in readers)
    info = replace(INFO, splits=tuple(readers), default_split=default, num_classes=len(names))
    return Dataset(name="list", root=root, class_names=names, info=info, readers=readers)


def _rows(path: Path) -> list[Row]:
    """The lines of a list, without a header such as `path,label`."""
    rows = [Row(line=line, path=name, label=label) for line, name, label in lines.read_path_labels(path)]
    if rows[0].path.lower() in HEADER_PATHS and rows[0].label.lower() in HEADER_LABELS:
        del rows[0]
    if not rows:
        raise DatasetError(f"{path} lists no video")
    for row in rows:
        if TWO_NUMBERS.fullmatch(row.label):
            raise AnnotationError(
                path, row.line, f"two numbers behind the path, {row.label!r}; leave out the number of frames"
            )
    return rows


def _names(lists: dict[Path, list[Row]]) -> tuple[str, ...]:
    """Class names without a file of them: the labels in alphabetical order, or the numbers 0 to the largest."""
    path, rows = next(iter(lists.items()))
    numbers = lines.is_index(rows[0].label)
    for path, rows in lists.items():
        for row in rows:
            if lines.is_index(row.label) != numbers:
                kinds = ("numbers", "a name") if numbers else ("names", "a number")
                raise AnnotationError(path, row.line, f"label {row.label!r} is {kinds[1]}, those before are {kinds[0]}")
    labels = {row.label for rows in lists.values() for row in rows}
    if not numbers:
        return tuple(sorted(labels))
    largest = max(0, max(int(label) for label in labels))
    if largest >= MOST_CLASSES:
        raise DatasetError(f"{path} has the label {largest}; numbers must count classes from 0, below {MOST_CLASSES:,}")
    return tuple(str(index) for index in range(largest + 1))


def _read(path: Path, rows: Sequence[Row], names: Sequence[str], root: Path) -> list[VideoRecord]:
    classes = {name: index for index, name in enumerate(names)}
    records = []
    for row in rows:
        label = (
            lines.checked_index(row.label, len(names), path, row.line)
            if lines.is_index(row.label) and row.label not in classes
            else lines.index_of_class(row.label, classes, path, row.line)
        )
        records.append(VideoRecord(id=row.path, path=root / row.path, label=label))
    # Stops at the first file that is there, so a complete list costs one look.
    if not any(os.path.exists(record.path) for record in records):  # noqa: PTH110 - False for names too long to exist
        raise SplitUnavailableError(
            f"none of the {len(records):,} videos listed in {path} exists; "
            f"paths are taken as absolute or below {root}, the first is {records[0].path}"
        )
    return records
