"""Runs and their results, and the JSON document of one: everything that made its numbers."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from tvts_bench.errors import UserError
from tvts_bench.metrics.measured import FORWARD, Metric, SplitCoverage
from tvts_bench.provenance import digest
from tvts_bench.typed_json import typed

SCHEMA = 2  # of the JSON file; raised when a field changes its meaning. 1: coverage does not say of which files
READABLE = (1, SCHEMA)

SLACK = 1e-6  # percent that rounding may add to 0 or 100

REPR_METRICS = 12  # that a representation shows, so that it fits on one screen

WIDEST = 1000.0  # percent that an end of an interval may have: where clips are few, it may lie outside of 0 to 100


class ResultError(UserError):
    """A result file that cannot be read or written."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was requested: everything that can change a number, and nothing else. Its digest is its key."""

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of it, as plain types; what single clips scored is in `tables`."""
        return as_json(self)

    def save(self, folder: Path | str) -> Path:
        """Write its JSON, CSV, Markdown and Parquet files into `folder`; where the JSON is.

        An earlier result of the same run with other numbers is kept beside it.

        Raises:
            ResultError: the folder cannot be made or written to.
        """
        from tvts_bench.results.files import write_files

        return write_files(self, Path(folder)).json

    def summary(self) -> str:
        """What was measured, as a Markdown table, and what made it, a line each."""
        from tvts_bench.results.files import as_markdown

        return as_markdown(self)

    def __repr__(self) -> str:
        backbone = self.run.backbone
        lines = [f"{self.run.dataset['name']}, {self.run.evaluator.get('name')}, run {self.run.key[:12]}"]
        lines.append(f"  {backbone['family']}:{backbone['variant']}, {backbone['weights']}")
        lines += [f"  {_metric_in_words(metric)}" for metric in self.metrics[:REPR_METRICS]]
        left = len(self.metrics) - REPR_METRICS
        lines += [f"  ... and {left} more metrics"] if left > 0 else []
        lines += [f"  {part.split}: {part.used:,} of {part.listed:,} clips used" for part in self.coverage]
        return "\n".join(lines)

    def metric(self, name: str, condition: str = FORWARD) -> Metric:
        """The metric of that name under that condition.

        Raises:
            KeyError: it was not measured.
        """
        for metric in self.metrics:
            if (metric.name, metric.condition) == (name, condition):
                return metric
        raise KeyError(f"{name} ({condition})")


def _metric_in_words(metric: Metric) -> str:
    interval = "" if metric.low is None else f" [{metric.low:.1f}, {metric.high:.1f}]"
    chance = "" if metric.chance is None else f", chance {metric.chance:.2f}"
    return f"{metric.name} ({metric.condition}) {metric.value:.2f}{interval}{chance}"


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


def as_json(result: Result) -> dict[str, Any]:
    """The JSON form of a result; `from_json` is its inverse."""
    document = asdict(replace(result, tables={}))
    del document["tables"]
    return {"schema": SCHEMA, "key": result.run.key, **document}


def from_json(document: Mapping[str, Any], source: Path | None = None) -> Result:
    """A result from its JSON form.

    Raises:
        ResultError: another schema, missing fields, numbers that cannot be, or a key that does not match its run.
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
