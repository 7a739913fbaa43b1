"""Check a data set: read every file once, in parallel, resuming what an earlier check did, and list what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench import provenance
from tvts_bench.check.journal import Journal
from tvts_bench.check.probe import look, probe_all
from tvts_bench.check.problems import Problem, find_problems
from tvts_bench.datasets.base import Dataset, SplitUnavailableError, VideoRecord
from tvts_bench.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found."""

    listed: Mapping[str, int]  # entries a split
    unavailable: Mapping[str, str]  # splits that could not be checked, and why
    problems: Sequence[Problem]
    read: int  # files read now
    recalled: int  # files known from an earlier check and unchanged since

    def count(self, split: str, problem: str) -> int:
        """Entries of `split` that have `problem`."""
        return len({row.id for row in self.problems if row.split == split and row.problem == problem})


def check_dataset(
    dataset: Dataset,
    runtime: Runtime,
    *,
    splits: Sequence[str] = (),
    decoder: str = "pyav",
    fresh: bool = False,
) -> CheckReport:
    """Read every file of `splits` (all if none are named) to its last frame.

    What was found is kept in the cache folder, so an interrupted check goes on where it was and a second one reads only
    files that changed; `fresh` forgets it.

    Raises:
        DatasetError: a list that cannot be read, or no split that can be checked.
    """
    records, unavailable = _records(dataset, splits)
    findings = {str(record.path): look(record.path) for rows in records.values() for record in rows}
    with Journal(journal_path(dataset, runtime.cache, decoder), fresh=fresh) as journal:
        to_read = []
        recalled = 0
        for path, seen in findings.items():
            if seen.status != "ok":
                continue
            known = journal.recall(seen, runtime.clip_timeout)
            if known is None:
                to_read.append(seen)
            else:
                findings[path] = known
                recalled += 1
        with runtime.progress(len(to_read), "files", f"checking {dataset.name}") as advance:
            for finding in probe_all(to_read, decoder, runtime):
                journal.add(finding)
                findings[finding.path] = finding
                advance(1)
    return CheckReport(
        listed={split: len(rows) for split, rows in records.items()},
        unavailable=unavailable,
        problems=find_problems(records, dataset.class_names, findings),
        read=len(to_read),
        recalled=recalled,
    )


def _records(dataset: Dataset, splits: Sequence[str]) -> tuple[dict[str, tuple[VideoRecord, ...]], dict[str, str]]:
    """The records of each split asked for; of all splits, those that cannot be used are left out with the reason."""
    records: dict[str, tuple[VideoRecord, ...]] = {}
    unavailable: dict[str, str] = {}
    for split in splits or dataset.splits:
        try:
            records[split] = dataset.records(split)
        except SplitUnavailableError as error:
            unavailable[split] = str(error)
            if splits:
                raise
    if not records:
        raise SplitUnavailableError(next(iter(unavailable.values())))
    return records, unavailable


def journal_path(dataset: Dataset, cache: Path, decoder: str) -> Path:
    """Where the findings on a root are kept: one file for a root, a decoder and its version."""
    from tvts_bench.video.reader import decoder_identity

    key = provenance.digest({"root": dataset.root.resolve(), "decoder": decoder_identity(decoder)})
    return cache / "check" / f"{dataset.root.resolve().name}-{key[:16]}.jsonl"
