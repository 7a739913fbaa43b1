"""Check a data set: read every file once, in parallel, resuming what an earlier check did, and list what is wrong."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tvts_bench import provenance
from tvts_bench.atomic import whole_file
from tvts_bench.check.probe import Finding, Journal, look, probe_all
from tvts_bench.datasets.base import Dataset, SplitUnavailableError, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.printable import csv_text
from tvts_bench.runtime import Runtime

KINDS = ("missing", "empty", "undecodable", "damaged", "timed out", "crashed", "duplicate", "leak", "mislabelled")
"""`damaged`: read, but with frames that the decoder made up in part. `duplicate`: same content twice in a split.
`leak`: the same video in two splits. The rest say what they mean."""

_Entry = tuple[str, VideoRecord]  # of a split, by its name


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One row of the CSV."""

    split: str
    id: str
    path: str
    problem: str  # one of KINDS
    detail: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found."""

    listed: Mapping[str, int]  # entries per split
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
    """Read every file to its last frame.

    Findings are kept in the cache folder, so an interrupted check resumes and a second one reads only files that
    changed.

    Args:
        dataset: What is checked.
        runtime: Processes, seconds per file, and the cache folder.
        splits: All if none are named.
        decoder: Of `video.reader.DECODERS`.
        fresh: Forget what earlier checks found.

    Raises:
        DatasetError: A list that cannot be read, or no split that can be checked.
    """
    records, unavailable = _records(dataset, splits)
    findings = {str(record.path): look(record.path) for rows in records.values() for record in rows}
    with Journal(journal_path(dataset, runtime.cache, decoder), fresh=fresh) as journal:
        readable = [seen for seen in findings.values() if seen.status == "ok"]
        recalled = [known for seen in readable if (known := journal.recall(seen, runtime.clip_timeout))]
        findings |= {known.path: known for known in recalled}
        to_read = [seen for seen in readable if findings[seen.path] is seen]
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
        recalled=len(recalled),
    )


def _records(dataset: Dataset, splits: Sequence[str]) -> tuple[dict[str, tuple[VideoRecord, ...]], dict[str, str]]:
    """The records of each split named; of all splits, those that cannot be used are left out with the reason."""
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
    """Where findings are kept: one file for a root, a decoder and its version.

    Args:
        dataset: Its root counts.
        cache: The cache folder.
        decoder: Of `video.reader.DECODERS`.
    """
    from tvts_bench.video.reader import decoder_identity

    key = provenance.digest({"root": dataset.root.resolve(), "decoder": decoder_identity(decoder)})
    return cache / "check" / f"{dataset.root.resolve().name}-{key[:16]}.jsonl"


def find_problems(
    records: Mapping[str, Sequence[VideoRecord]], class_names: Sequence[str], findings: Mapping[str, Finding]
) -> list[Problem]:
    """Every problem of every record; reads nothing.

    Args:
        records: Of each split.
        class_names: By label.
        findings: By path.

    Returns:
        Problems in the order of splits and records.
    """
    entries = [(split, record, findings[str(record.path)]) for split, rows in records.items() for record in rows]
    videos: dict[str, list[_Entry]] = defaultdict(list)  # by content, or by id where no content was read
    for split, record, finding in entries:
        videos[finding.sha256 or f"id {record.id}"].append((split, record))
    # Classes known by number only have no name that a folder could contradict.
    names = {} if all(name.isdecimal() for name in class_names) else {_plain(name): name for name in class_names}
    problems: list[Problem] = []
    for split, record, finding in entries:
        rows: list[tuple[str, str]] = [] if finding.status == "ok" else [(finding.status, finding.detail)]
        rows += _about_twins(split, record, videos[finding.sha256 or f"id {record.id}"], class_names)
        rows += _about_names(record, class_names[record.label], names)
        problems += [
            Problem(split=split, id=record.id, path=str(record.path), problem=problem, detail=detail)
            for problem, detail in rows
        ]
    return problems


def _about_twins(
    split: str, record: VideoRecord, twins: Sequence[_Entry], class_names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """A twin earlier in the same split, one in an earlier split, and one (anywhere) with another label."""
    first = next(twin for other, twin in twins if other == split)
    if first.id != record.id:
        yield "duplicate", f"same content as {first.id}"
    other, twin = twins[0]
    if other != split:
        yield "leak", f"the same video is in {other} as {twin.id}"
    labels = {record.label}
    for other, twin in twins:
        if twin.label not in labels:
            labels.add(twin.label)
            ours, theirs = class_names[record.label], class_names[twin.label]
            yield "mislabelled", f"labelled {ours!r}, the same video in {other} ({twin.id}) {theirs!r}"


# UCF-101 and HMDB-51 repeat the class in the file's name; the latter after a source that may end in any word.
_UCF_NAME = re.compile(r"v_(?P<name>.+)_g\d+_c\d+")
_HMDB_NAME = re.compile(r"(?P<name>.+)_[fhlu]_(?:cm|nm)_np\d+_[a-z]{2}_[a-z]{3}_\d+")


def _about_names(record: VideoRecord, label: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A class folder or a file name that tells another class than the label. `names`: plain form -> class name."""
    folder = names.get(_plain(record.path.parent.name))
    if folder is not None and folder != label:
        yield "mislabelled", f"labelled {label!r}, but lies in the folder of {folder!r}"
    named = {names[plain] for plain in _plain_names_in(record.path.stem) if plain in names}
    if named and label not in named:
        yield "mislabelled", f"labelled {label!r}, but is named as {' or '.join(sorted(named))}"


def _plain_names_in(stem: str) -> Iterator[str]:
    ucf, hmdb = _UCF_NAME.fullmatch(stem), _HMDB_NAME.fullmatch(stem)
    if ucf:
        yield _plain(ucf["name"])
    if hmdb:
        words = hmdb["name"].split("_")
        yield from (_plain("_".join(words[start:])) for start in range(1, len(words)))


def _plain(name: str) -> str:
    """A class name without case, spaces and punctuation: how copies of a data set differ in their folders."""
    return "".join(character for character in name.casefold() if character.isalnum())


def write_csv(problems: Sequence[Problem], path: Path) -> None:
    """All problems with a header, also when there are none. The file appears whole or not at all.

    Raises:
        UserError: No permission, disk full, or any other reason the system gives.
    """
    text = csv_text([[column.name for column in fields(Problem)], *map(astuple, problems)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; what was found is kept, so run again with another --out"
        ) from error
