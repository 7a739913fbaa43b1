"""Anyone's own videos, listed with their labels: `path label` lines as VideoMAE and PySlowFast read them."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
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
from tvts_bench.datasets.label_lists import Row, part_columns, read_rows
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="A list of paths and labels",
    splits=("all", "train", "val", "test"),
    default_split="val",
    num_classes=None,
    official_sizes={},
    url="your own",
    license="your own",
    layout="train.csv, val.csv, test.csv (or --annotations FILE) with `path label` or `path,label` lines, or a header "
    "and columns of paths, labels and, if you like, splits; paths absolute or below the root",
    notes="Labels are whole numbers from 0, or names. classes.txt beside the list names the classes, one a line. "
    "A list named for no split is the split `all`; of one with a column of splits, --split selects.",
)

LISTS = {split: (f"{split}.csv", f"{split}.txt") for split in ("train", "val", "test")}
NAME_FILES = ("classes.txt", "class_names.txt", "label_map.txt")
MOST_CLASSES = 100_000  # a larger number is no class but an id or a time
TWO_NUMBERS = re.compile(r"[0-9]+[\s,]+[0-9]+")  # `path frames label`, as lists of extracted frames have it
PREFERRED = ("all", "val", "test", "train")  # the default split is the first of these that is there


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read the lists; ids are the paths as listed.

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: there is no list, or one is empty.
        AnnotationError: a malformed line, numbers and names as labels in one data set, a label out of range.
    """
    options.refuse("list", "fold", "variant")
    folders = files.list_folders(root, options, ())
    if folders.given:
        lists = {folders.given: _rows(folders.given)}
        has_splits = any(row.split for row in lists[folders.given])
        name = None if has_splits else files.split_in_name(folders.given.name)
        paths = {name or "all": folders.given}
    else:
        paths = folders.lists(LISTS, INFO.default_split)
        lists = {path: _rows(path, split) for split, path in paths.items()}
    if not paths:
        raise DatasetError(f"no train.csv, val.csv or test.csv in {folders.described}; say --annotations FILE")
    rows = {split: (path, lists[path]) for split, path in paths.items()}
    if "all" in rows:
        rows |= _by_split(*rows["all"])
    name_file = folders.find(NAME_FILES)
    names = lines.read_names(name_file) if name_file else _names(lists)
    readers = {split: partial(_read, path, selected, names, root) for split, (path, selected) in rows.items()}
    default = next(split for split in PREFERRED if split in readers)
    info = replace(INFO, splits=tuple(readers), default_split=default, num_classes=len(names))
    whole = {
        f"columns of {path.name} that name a part of each video (all are measured whole)": columns
        for path in lists
        if (columns := part_columns(path))
    }
    return Dataset(name="list", root=root, class_names=names, info=info, readers=readers, left_out=whole)


def _rows(path: Path, split: str | None = None) -> list[Row]:
    """The rows of a list."""
    rows = read_rows(path, split)
    for row in rows:
        if TWO_NUMBERS.fullmatch(row.label):
            raise AnnotationError(
                path, row.line, f"two numbers behind the path, {row.label!r}; leave out the number of frames"
            )
    return rows


def _by_split(path: Path, rows: Sequence[Row]) -> dict[str, tuple[Path, list[Row]]]:
    """The rows of each split that a list has a column of, in the order in which splits first appear."""
    by_split: dict[str, tuple[Path, list[Row]]] = {}
    for row in rows:
        if row.split == "all":
            raise AnnotationError(path, row.line, "a split cannot be called all: that is the whole list")
        if row.split:
            by_split.setdefault(row.split, (path, []))[1].append(row)
    return by_split


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
        label = lines.label_index(row.label, classes, path, row.line)
        records.append(VideoRecord(id=row.path, path=root / row.path, label=label))
    # Stops at the first file that is there, so a complete list costs one look.
    if not any(os.path.exists(record.path) for record in records):  # noqa: PTH110 - False for names too long to exist
        raise SplitUnavailableError(
            f"none of the {len(records):,} videos listed in {path} exists; "
            f"paths are taken as absolute or below {root}, the first is {records[0].path}"
        )
    return records
