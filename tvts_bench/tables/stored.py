"""The results that a folder already holds, found by the content of their run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """What was found, by key: of several results of one run the newest. Only what this version wrote is in it.

    Whether one still says what a measurement would say now is for `ReuseCheck` to tell.
    """

    folder: Path
    by_key: Mapping[str, Stored] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  # a sentence a file that is no result of this version

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
        if earlier is None or _created(result) >= _created(earlier.result):
            by_key[result.run.key] = Stored(result=result, path=path)
    return StoredResults(folder=folder, by_key=by_key, refused=tuple(refused))


def other_version(result: Result) -> str | None:
    """Why a result is not this version's; None where it is."""
    made_by = result.provenance.get("versions", {}).get("tvts-bench")
    return None if made_by == VERSION else f"made by tvts-bench {made_by}, this is {VERSION}"


def _subject(run: Run) -> tuple[object, ...]:
    return run.backbone.get("tensors_sha256"), run.dataset.get("name"), run.evaluator.get("name")


def _created(result: Result) -> str:
    """When it was measured, in a form that sorts by time."""
    return str(result.provenance.get("created", ""))
