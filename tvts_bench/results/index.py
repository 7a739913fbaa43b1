"""The results of a folder, by the key of their run; which of them are comparable, and which still hold."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvts_bench.datasets.base import Dataset, DatasetError
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.provenance import digest
from tvts_bench.results.files import load
from tvts_bench.results.result import Result, ResultError, Run
from tvts_bench.snapshot import Snapshot, is_unchanged
from tvts_bench.version import VERSION

log = logging.getLogger(__name__)

RUNS = "runs"  # where tables put the results that they are made of, under the folder of all results


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredResult:
    """A result and the file it was read from."""

    result: Result
    path: Path  # of its JSON; for a member of an archive as if that were unpacked where it lies
    archive: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultIndex:
    """Results by key: of several results of one run the newest. Only what this version wrote is in it.

    Whether one still says what a measurement would say now is for `ReuseCheck` to tell.
    """

    folder: Path
    by_key: Mapping[str, StoredResult] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  # a sentence for each file that is no result of this version

    def others(self, run: Run) -> tuple[Path, ...]:
        """Results of the same weights, data set and evaluator as `run`, but of another configuration or other lists."""
        subject = _subject(run)
        return tuple(
            stored.path
            for key, stored in self.by_key.items()
            if key != run.key and _subject(stored.result.run) == subject
        )


def read_index(folder: Path) -> ResultIndex:
    """The results in `folder` itself and in `folder`/runs, where commands and tables put theirs.

    Files that were set aside for newer numbers are passed over.
    """
    by_key: dict[str, StoredResult] = {}
    refused = []
    for path in [*sorted(folder.glob("*.json")), *sorted(folder.glob(f"{RUNS}/*.json"))]:
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
        earlier = by_key.get(result.run.key)
        if earlier is None or created(result) >= created(earlier.result):
            by_key[result.run.key] = StoredResult(result=result, path=path)
    return ResultIndex(folder=folder, by_key=by_key, refused=tuple(refused))


def made_by(result: Result) -> str | None:
    """The version of tvts-bench that measured a result."""
    version: str | None = result.provenance.get("versions", {}).get("tvts-bench")
    return version


def other_version(result: Result) -> str | None:
    """Why a result is not this version's; None where it is."""
    version = made_by(result)
    return None if version == VERSION else f"made by tvts-bench {version}, this is {VERSION}"


def comparability_key(stored: StoredResult) -> str:
    """A digest of how and on what a result was measured, whatever the backbone and the seeds.

    Only results of one key belong to one mean, and to one test between rows.
    """
    run = stored.result.run
    return digest({"evaluator": unseeded(run.evaluator), "dataset": run.dataset, "decoder": run.decoder})


def most_common(keys: Iterable[str]) -> str | None:
    """The key that most results have, the first by name of several; None where there are no results."""
    counts = Counter(keys)
    return min(counts, key=lambda key: (-counts[key], key)) if counts else None


class ReuseCheck:
    """Compares results with data sets as they are now.

    A split's files are looked at once for all results that were measured on the same ones, so an object of this class
    is for one pass over results and no longer.
    """

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self._unchanged: dict[tuple[int, str, Snapshot], bool] = {}
        self._datasets: list[Dataset] = []  # kept alive, so that no other one gets their `id`

    def difference(self, result: Result, dataset: Dataset) -> str | None:
        """Why `result` has to be measured again on `dataset`, in words that follow its name; None where it has not.

        One `stat` per file; files are read only where their signatures differ and the result knows their contents.
        """
        if any(item.files is None for item in result.coverage):
            return "was made before results recorded their files"
        for item in result.coverage:
            if (reason := self._of_split(item, dataset)) is not None:
                return reason
        for item in result.coverage:
            if item.transient:
                return f"lacks {len(item.transient)} clips of {item.split} that failed for the moment"
        return None

    def _of_split(self, item: SplitCoverage, dataset: Dataset) -> str | None:
        try:
            if dataset.fingerprint(item.split) != item.fingerprint:
                return f"was measured on another list of {item.split}"
        except DatasetError as error:
            return f"was measured on {item.split}, which is not there now: {error}"
        assert item.files is not None
        key = (id(dataset), item.split, item.files)
        if key not in self._unchanged:
            self._datasets.append(dataset)
            self._unchanged[key] = is_unchanged(item.files, dataset.files(item.split))
        return None if self._unchanged[key] else f"was measured on other files: videos of {item.split} changed since"


def unseeded(value: Any) -> Any:
    """A part of a run without seeds: what results of different seeds have in common."""
    if isinstance(value, Mapping):
        return {key: unseeded(item) for key, item in value.items() if key not in ("seed", "seeds")}
    return [unseeded(item) for item in value] if isinstance(value, list) else value


def _subject(run: Run) -> tuple[object, ...]:
    return run.backbone.get("tensors_sha256"), run.dataset.get("name"), run.evaluator.get("name")


def created(result: Result) -> str:
    """When it was measured, in a form that sorts by time."""
    return str(result.provenance.get("created", ""))
