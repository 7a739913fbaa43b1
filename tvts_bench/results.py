"""Runs and their results: one JSON file a run, with everything that made its numbers, never overwritten silently."""

import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from tvts_bench.atomic import whole_file
from tvts_bench.errors import UserError
from tvts_bench.metrics.measured import FORWARD, Metric, SplitCoverage
from tvts_bench.provenance import digest
from tvts_bench.regular_file import read_regular
from tvts_bench.typed_json import typed

SCHEMA = 2  # of the JSON file; raised when a field changes its meaning. 1: coverage does not say of which files
READABLE = (1, SCHEMA)

SLACK = 1e-6  # percent that rounding may add to 0 or 100

WIDEST = 1000.0  # percent that an end of an interval may have: where clips are few, it may lie outside of 0 to 100

log = logging.getLogger(__name__)


class ResultError(UserError):
    """A result file that cannot be read or written."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was asked for: everything that can change a number, and nothing else. Its digest is its key."""

    evaluator: Mapping[str, Any]  # canonical form of the evaluator: its name, its clip, decoder, dtype, seeds, ...
    backbone: Mapping[str, Any]  # family, variant, name and sha256 of the weights, sha256 of the tensors held
    dataset: Mapping[str, Any]  # name, fingerprints of the splits and of their groups
    decoder: str  # with versions

    @property
    def key(self) -> str:
        """sha256 (hex) of the run."""
        return digest(self)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run and what it measured."""

    run: Run
    metrics: tuple[Metric, ...]
    coverage: tuple[SplitCoverage, ...]
    provenance: Mapping[str, Any]  # versions, device, load report, decoders that read the clips, command, time
    protocol: tuple[str, ...] = ()  # what was done, in words; `run.evaluator` has it as data
    notes: tuple[str, ...] = ()  # what a reader must know beside the numbers
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False, compare=False)
    # name -> column -> values: neighbours and the like, for files of their own; not part of the JSON

    @property
    def stem(self) -> str:
        """A readable file name that is unique to the run: data set, split, backbone, key."""
        parts = (
            self.run.dataset["name"],
            "-vs-".join(item.split for item in self.coverage),
            self.run.backbone["family"],
            self.run.backbone["variant"],
            self.run.key[:12],
        )
        return "-".join(re.sub(r"[^\w.]+", "-", str(part)).strip("-") for part in parts if part)

    def metric(self, name: str, condition: str = FORWARD) -> Metric:
        """The metric of that name under that condition.

        Raises:
            KeyError: it was not measured.
        """
        for metric in self.metrics:
            if (metric.name, metric.condition) == (name, condition):
                return metric
        raise KeyError(f"{name} ({condition})")


_DOCUMENT = ("run", "metrics", "coverage", "provenance", "protocol", "notes")  # fields in the JSON


class _Backbone(TypedDict):
    family: str
    variant: str
    weights: str
    sha256: str


class _Named(TypedDict):
    name: str


class _LoadReport(TypedDict, total=False):
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class _Provenance(TypedDict):
    decoders: Mapping[str, int]
    versions: NotRequired[Mapping[str, str]]
    features_computed_by: NotRequired[Mapping[str, int]]
    load_report: NotRequired[_LoadReport | None]


class _Shown(TypedDict):
    """What tables and pages look at in the parts of a result that are free otherwise."""

    evaluator: _Named
    backbone: _Backbone
    dataset: _Named
    provenance: _Provenance


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Where `save` put a result."""

    json: Path
    superseded: Path | None = None  # the earlier file of this run, kept because it said otherwise


def as_json(result: Result) -> dict[str, Any]:
    """The JSON form of a result; `from_json` is its inverse."""
    document = asdict(replace(result, tables={}))
    del document["tables"]
    return {"schema": SCHEMA, "key": result.run.key, **document}


def from_json(document: Mapping[str, Any], source: Path | None = None) -> Result:
    """A result from its JSON form.

    Raises:
        ResultError: another schema, missing fields, numbers that cannot be, or a key that does not match the run it
            stands beside.
    """
    try:
        typed(int, document["schema"], "schema")
        if document["schema"] not in READABLE:
            known = " and ".join(map(str, READABLE))
            raise ResultError(f"{source}: result schema {document['schema']}, this version reads {known}")
        result = typed(Result, {name: document[name] for name in _DOCUMENT})
        typed(_Shown, {**document["run"], "provenance": document["provenance"]})
        _require(bool(result.metrics), "metrics", result.metrics)
        _require(bool(result.coverage), "coverage", result.coverage)
        for metric in result.metrics:
            _require_possible(metric)
        for part in result.coverage:
            counts = (part.used, part.listed, *part.official)
            _require(min(counts) >= 0 and part.used <= part.listed > 0, part.split, f"{part.used} of {part.listed}")
        key = result.run.key
    except ResultError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ResultError(f"{source}: not a result file of tvts-bench ({problem})") from error
    if key != document.get("key"):
        raise ResultError(f"{source}: the run does not match its key; the file was edited or damaged")
    return result


def _require_possible(metric: Metric) -> None:
    """TypeError where a number is no percentage, or an interval has one end."""
    _require((metric.low is None) == (metric.high is None), f"{metric.name} low, high", (metric.low, metric.high))
    for number in (metric.value, metric.chance or 0.0, *metric.per_seed):
        _require(-SLACK <= number <= 100 + SLACK, metric.name, number)
    for bound in (metric.low or 0.0, metric.high or 0.0):
        _require(abs(bound) <= WIDEST, metric.name, bound)


def _require(holds: bool, what: str, value: object) -> None:
    if not holds:
        raise TypeError(f"{what}: {str(value)[:80]}")


def save(result: Result, folder: Path) -> Saved:
    """Write `result` to its file in `folder`, atomically.

    A file of the same run with other numbers is kept (`set_aside`), and a warning is logged.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    path = folder / f"{result.stem}.json"
    document = as_json(result)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    superseded = set_aside(result, folder)
    write_atomically(path, text)
    return Saved(json=path, superseded=superseded)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError, RecursionError: it is no JSON.
    """
    return json.loads(read_regular(path).decode("utf-8"))


def load(path: Path) -> Result:
    """Read a result file.

    Raises:
        ResultError: it is missing, not JSON, or not a result.
    """
    try:
        document = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"cannot read the result file {path}: {error}") from error
    if not isinstance(document, dict):
        raise ResultError(f"{path}: not a result file of tvts-bench")
    return from_json(document, path)


def require_writable(folder: Path) -> None:
    """Make `folder` and try it out, so that hours of work do not end before a locked door.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"cannot write to {folder}: {error.strerror or error}"
        raise ResultError(f"{problem}; choose another place with --out") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        ResultError: no permission, disk full, or any other reason the system gives.
    """
    # Names on disk need not be UTF-8; in JSON the escape reads back as the same name.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror or error}; choose another folder with --out"
        ) from error


def set_aside(result: Result, folder: Path) -> Path | None:
    """Rename the files of an earlier run of `result` that measured other numbers or other videos; where its JSON is.

    None where there is nothing to keep.

    Raises:
        ResultError: the system does not let them be renamed.
    """
    path = folder / f"{result.stem}.json"
    if not path.exists() or _says_the_same(path, result):
        return None
    aside = rename_aside(path)
    log.warning("%s held other numbers for the same run, or those of other videos; kept as %s", path.name, aside.name)
    return aside


def rename_aside(path: Path) -> Path:
    """Rename a result file, and all that lies beside it under its stem; where it then is.

    The files keep their names but for the next free number behind the stem.

    Raises:
        ResultError: the system does not let them be renamed.
    """
    folder, stem = path.parent, path.stem
    number = 1
    while (aside := folder / f"{stem}.{number}.json").exists():
        number += 1
    try:
        for file in [file for file in folder.iterdir() if file.name.startswith(f"{stem}.")]:
            rest = file.name.removeprefix(stem)
            if not rest[1:2].isdigit():  # those were set aside before
                file.rename(folder / f"{stem}.{number}{rest}")
    except OSError as error:
        raise ResultError(f"cannot rename the earlier files of {path}: {error.strerror or error}") from error
    return aside


def _says_the_same(path: Path, new: Result) -> bool:
    """Whether the result in `path` has the numbers of `new`, and is not known to be of other videos."""
    try:
        old = load(path)
    except ResultError:
        return False
    return (
        old.metrics == new.metrics
        and len(old.coverage) == len(new.coverage)
        and all(map(_same_coverage, old.coverage, new.coverage))
    )


def _same_coverage(old: SplitCoverage, new: SplitCoverage) -> bool:
    return replace(old, files=None) == replace(new, files=None) and (
        old.files is None  # of an older version, which did not say
        or new.files is None
        or old.files.signatures == new.files.signatures
        or (old.files.contents is not None and old.files.contents == new.files.contents)
    )
