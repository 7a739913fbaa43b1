"""The types every data set shares: a record, a data set, what is known of the official one."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tvts_bench.errors import UserError
from tvts_bench.provenance import digest


class DatasetError(UserError):
    """A data set that cannot be read as requested: missing root, unknown split, empty list."""


class SplitUnavailableError(DatasetError):
    """A split whose list is there but which cannot be used: it has no labels, or none of its files is there."""


class AnnotationError(DatasetError):
    """A line of an annotation file that cannot be read. The message names the file and the line."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}: {problem}")


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoRecord:
    """One video of a split."""

    id: str  # unique in its data set, the same on every machine: the name in the official list, not a local path
    path: Path
    label: int  # index into the data set's class_names
    group: str | None = None  # videos cut from one source share it (UCF-101's gNN)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What a plug-in declares of its data set without reading anything: shown by `tvts-bench datasets`."""

    title: str
    splits: tuple[str, ...]
    default_split: str  # the one that is evaluated
    num_classes: int | None  # None: whatever the folder holds
    official_sizes: Mapping[str, tuple[int, ...]]  # videos per split, every size in circulation, the official one first
    url: str  # where to get it
    license: str
    layout: str  # what `--root` must hold, in a line or two
    variants: tuple[str, ...] = ()  # `name:variant` on the command line
    notes: str = ""

    def of_splits(self, splits: Iterable[str], **changed: Any) -> "DatasetInfo":
        """The same with `changed` fields; the default split is the first of `splits` unless it is among them."""
        info, present = replace(self, **changed), tuple(splits)
        return info if info.default_split in present else replace(info, default_split=present[0])


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a user may give beside the root; a data set refuses, by name, an option that has no meaning for it."""

    annotations: Path | None = None  # a list or folder of lists in place of the one under the root
    fold: int = 1  # the official split number of UCF-101 and HMDB-51, 1 to 3
    variant: str | None = None  # the part of `name:variant` after the colon
    cache: Path | None = None  # where an embedded data set is made; None: the default cache. Others ignore it

    def refuse(self, dataset: str, *meaningless: str) -> None:
        """Raise a DatasetError if one of the fields named is set, because `dataset` cannot make use of it."""
        for option in meaningless:
            if getattr(self, option) != LoadOptions.__dataclass_fields__[option].default:
                raise DatasetError(f"{dataset} has no use for --{option} {getattr(self, option)}; leave it out")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a split is there."""

    listed: int  # videos in the list that was read
    present: int  # of those, files that exist
    official: tuple[int, ...]  # known official sizes; empty for a user's own data

    @property
    def complete(self) -> bool:
        """Whether every listed file exists and the list has an official size (if there is one)."""
        return self.present == self.listed and (not self.official or self.listed in self.official)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set on disk. Lists are read when a split is first needed."""

    name: str  # with fold and variant where they select other records: "ucf101-fold2"
    root: Path
    class_names: tuple[str, ...]
    info: DatasetInfo
    readers: Mapping[str, Callable[[], Sequence[VideoRecord]]]  # one for each split that is there
    content: str | None = None  # digest of what decides the pixels, where the videos are made here and not collected
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # why -> files below the root, no records
    _cache: dict[str, tuple[VideoRecord, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits whose lists are there."""
        return tuple(self.readers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the data set, a sentence a reason."""
        return tuple(
            f"left out: {len(paths):,} {reason}, the first: {paths[0]!r}" for reason, paths in self.left_out.items()
        )

    def records(self, split: str) -> tuple[VideoRecord, ...]:
        """The split's videos in the order of the official list.

        Raises:
            DatasetError: no such split, an empty list, or duplicate ids.
            AnnotationError: a malformed line, with file and line number.
        """
        if split not in self.readers:
            raise DatasetError(
                f"{self.name} under {self.root} has no split {split!r}; it has: {', '.join(self.splits)}"
            )
        if split not in self._cache:
            records = tuple(self.readers[split]())
            if not records:
                raise DatasetError(f"the {split} split of {self.name} under {self.root} lists no video")
            most_frequent, count = Counter(record.id for record in records).most_common(1)[0]
            if count > 1:
                raise DatasetError(f"the {split} split of {self.name} lists {most_frequent!r} more than once")
            self._cache[split] = records
        return self._cache[split]

    def files(self, split: str) -> dict[str, Path]:
        """Path of each id of the split's videos, in the order of its records."""
        return {record.id: record.path for record in self.records(split)}

    def fingerprint(self, split: str) -> str:
        """sha256 (hex) over the split's name, classes, ids and labels in order, and `content`; paths do not count."""
        state = hashlib.sha256()
        state.update("\n".join((split, *self.class_names)).encode(errors="surrogateescape"))  # names may be no UTF-8
        for record in self.records(split):
            state.update(f"\0{record.id}\t{record.label}".encode(errors="surrogateescape"))
        if self.content is not None:
            state.update(f"\0\0{self.content}".encode())
        return state.hexdigest()

    def group_fingerprint(self, split: str) -> str | None:
        """sha256 (hex) of the groups of the split's videos in order; None where no video has one."""
        groups = [record.group for record in self.records(split)]
        return digest(groups) if any(group is not None for group in groups) else None

    def coverage(self, split: str) -> Coverage:
        """How many of the split's files exist (one `stat` each)."""
        records = self.records(split)
        present = sum(os.path.isfile(record.path) for record in records)  # noqa: PTH113 - False for too long a name
        return Coverage(listed=len(records), present=present, official=self.info.official_sizes.get(split, ()))
