"""The results that a folder already holds, found by the content of their run."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tvts_bench.datasets.base import Dataset
from tvts_bench.results import Result, ResultError, Run, load
from tvts_bench.version import VERSION

log = logging.getLogger(__name__)

RUNS = "runs"  # where tables put the results that they are made of, under the folder of all results


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """A result and the file it was read from."""

    result: Result
    path: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredResults:
    """What was found, by key. Only what this version wrote is in it."""

    folder: Path
    by_key: Mapping[str, Stored] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  # a sentence a file that is no result of this version

    def find(self, run: Run, dataset: Dataset) -> Stored | None:
        """The result of exactly this run, if it is there and still says what a run would measure now.

        A result that could not read some clips no longer does once one of their files, or a folder above it, changed.
        """
        found = self.by_key.get(run.key)
        if found is None or not _as_it_was(found, dataset):
            return None
        return found

    def others(self, run: Run) -> tuple[Path, ...]:
        """Results of the same weights, data set and evaluator as `run`, but of another configuration or other lists."""
        asked = _subject(run)
        return tuple(
            stored.path
            for key, stored in self.by_key.items()
            if key != run.key and _subject(stored.result.run) == asked
        )


def read_stored(folder: Path) -> StoredResults:
    """The results in `folder` itself and in `folder`/runs, where commands and tables put theirs.

    Files that were set aside for newer numbers are passed over.
    """
    by_key: dict[str, Stored] = {}
    refused = []
    for path in sorted([*folder.glob("*.json"), *folder.glob(f"{RUNS}/*.json")]):
        try:
            result = load(path)
        except ResultError as error:
            refused.append(f"ignored: {error}")
            continue
        if path.name != f"{result.stem}.json":
            log.debug("%s was set aside or renamed", path)
            continue
        if reason := other_version(result):
            refused.append(f"ignored {path}: {reason}")
            continue
        by_key[result.run.key] = Stored(result=result, path=path)
    return StoredResults(folder=folder, by_key=by_key, refused=tuple(refused))


def other_version(result: Result) -> str | None:
    """Why a result is not this version's; None where it is."""
    made_by = result.provenance.get("versions", {}).get("tvts-bench")
    return None if made_by == VERSION else f"made by tvts-bench {made_by}, this is {VERSION}"


def _subject(run: Run) -> tuple[object, ...]:
    return run.backbone.get("tensors_sha256"), run.dataset.get("name"), run.evaluator.get("name")


def _as_it_was(stored: Stored, dataset: Dataset) -> bool:
    """Whether no file that could not be read, nor a folder between it and the root, changed since the result."""
    written = stored.path.stat().st_mtime_ns
    for coverage in stored.result.coverage:
        if not coverage.failed:
            continue
        by_id = {record.id: record.path for record in dataset.records(coverage.split)}
        for name in coverage.failed:
            path = by_id[name]
            folders = [folder for folder in path.parents if folder.is_relative_to(dataset.root)]
            if any(_changed(each) > written for each in (path, *folders)):
                return False
    return True


def _changed(path: Path) -> int:
    """When the file or folder last changed, ns; 0 where there is none."""
    try:
        return os.stat(path).st_ctime_ns  # noqa: PTH116 - also of what is_file() would refuse
    except OSError:
        return 0
