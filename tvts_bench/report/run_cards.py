"""What made a number: one card per run, that every number made by it opens."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvts_bench.metrics.measured import SplitCoverage, damage_line, failure_line
from tvts_bench.report.groups import backbone_name, flat
from tvts_bench.results import Result
from tvts_bench.results.index import StoredResult

FAILURES_SHOWN = 20  # of a split; the result's JSON has all


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing a card says; `lines` below each other."""

    name: str
    lines: tuple[str, ...]
    mono: bool = False  # hashes and the like


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of a run."""

    condition: str
    name: str
    value: str
    interval: str
    chance: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What made the numbers of one run."""

    key: str
    title: str
    subtitle: str
    facts: tuple[Fact, ...]
    scores: tuple[Score, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # every one that can change a number
    complete: bool = True  # False: only what a table says of the run


def cards(results: Iterable[StoredResult], tables: Iterable[Mapping[str, Any]], folder: Path) -> tuple[Card, ...]:
    """One card per run, those of results first; runs that only a table names have what it says of them.

    Args:
        results: of commands, tables and cells.
        tables: documents.
        folder: of all results, which files are named from.

    Returns:
        Each run once.
    """
    by_key = {stored.result.run.key: _card(stored, folder) for stored in results}
    for _, run in cited(tables):
        by_key.setdefault(run["key"], _quoted(run))
    return tuple(by_key.values())


def cited(tables: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Row and run of every number in documents of tables."""
    for document in tables:
        for cell in document["cells"]:
            yield from ((cell["row"], run) for run in (cell["measured"]["runs"] if cell["measured"] else ()))


def relative(path: Path, folder: Path) -> str:
    """`path` from the folder of results on; in full where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _card(stored: StoredResult, folder: Path) -> Card:
    result = stored.result
    scores = (
        Score(
            condition=metric.condition,
            name=metric.name,
            value=f"{metric.value:.2f}" + ("" if metric.spread is None else f" ± {metric.spread:.2f}"),
            interval="" if metric.low is None else f"{metric.low:.2f} to {metric.high:.2f}",
            chance="" if metric.chance is None else f"{metric.chance:.2f}",
        )
        for metric in result.metrics
    )
    return Card(
        key=result.run.key,
        title=backbone_name(result.run.backbone),
        subtitle=f"{result.run.evaluator.get('name')} on {result.run.dataset['name']}".replace("_", " "),
        facts=tuple(fact for fact in _facts(result, relative(stored.path, folder)) if fact.lines),
        scores=tuple(scores),
        settings=tuple(flat({"evaluator": result.run.evaluator, "dataset": result.run.dataset}).items()),
    )


def _facts(result: Result, file: str) -> Iterator[Fact]:
    made = result.provenance
    yield from _identity(result.run.key, result.run.backbone)
    yield _fact("tensors loaded", *_loaded(made.get("load_report")))
    for item in result.coverage:
        yield _fact(f"clips of {item.split}", *_clips(item))
        yield _fact(f"fingerprint of {item.split}", item.fingerprint, mono=True)
    yield _fact("protocol", *result.protocol)
    yield _fact("frames", *_frames(result.run.evaluator.get("clip")))
    yield _fact("seeds", *_seeds(result.run.evaluator))
    yield _fact("decoder", result.run.decoder, *_counts(made.get("decoders"), "clips"))
    yield _fact("computed by", *_counts(made.get("features_computed_by"), "clips"))
    yield _fact("device", made.get("device"))
    versions = made.get("versions")
    if isinstance(versions, Mapping):
        yield _fact("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))
    yield _fact("measured at", made.get("created"))
    yield _fact("notes", *result.notes)
    yield _fact("file", file, mono=True)


def _quoted(run: Mapping[str, Any]) -> Card:
    dataset = run["dataset"]
    facts = [
        *_identity(run["key"], run["backbone"]),
        *(
            _fact(f"fingerprint of {split}", digest, mono=True)
            for split, digest in dict(dataset.get("splits", {})).items()
        ),
        _fact("seed", run["seed"]),
        _fact("file", f"{run['file']} (not in this folder; the rest is said there)", mono=True),
    ]
    return Card(
        key=run["key"],
        title=backbone_name(run["backbone"]),
        subtitle=str(dataset.get("name", "")),
        facts=tuple(fact for fact in facts if fact.lines),
        complete=False,
    )


def _identity(key: str, backbone: Mapping[str, Any]) -> Iterator[Fact]:
    """Which run, of which weights."""
    yield _fact("run", key, mono=True)
    yield _fact("weights", backbone.get("weights"))
    yield _fact("checkpoint sha256", backbone.get("sha256"), mono=True)
    yield _fact("tensors sha256", backbone.get("tensors_sha256"), mono=True)


def _fact(name: str, *lines: object, mono: bool = False) -> Fact:
    """A fact without the lines that are None."""
    return Fact(name=name, lines=tuple(str(line) for line in lines if line is not None), mono=mono)


def _loaded(report: object) -> Iterator[str]:
    if isinstance(report, Mapping) and "used" in report:
        left = [f"{len(report[kind])} {kind}" for kind in ("missing", "unexpected") if kind in report]
        yield ", ".join([f"{report['used']} used", *left, str(report.get("format", ""))]).rstrip(", ")


def _clips(item: SplitCoverage) -> Iterator[str]:
    official = f"; official: {' or '.join(f'{size:,}' for size in item.official)}" if item.official else ""
    yield f"{item.used:,} of {item.listed:,} used, {len(item.failed):,} failed{official}"
    failed = sorted(item.failed.items())
    yield from (failure_line(clip, reason) for clip, reason in failed[:FAILURES_SHOWN])
    if len(failed) > FAILURES_SHOWN:
        yield f"and {len(failed) - FAILURES_SHOWN:,} more, all in the file"
    if item.damaged:
        yield damage_line(item.damaged, item.listed, item.split)


def _frames(clip: object) -> Iterator[str]:
    if isinstance(clip, Mapping):
        yield ", ".join(f"{name.replace('_', ' ')} {_plain(clip[name])}" for name in clip if name != "type")


def _seeds(evaluator: Mapping[str, Any]) -> Iterator[str]:
    """Every seed among the settings."""
    for name, value in flat(evaluator).items():
        if name.rpartition(".")[2] in ("seed", "seeds"):
            yield f"{name.removeprefix('evaluator.')} {value}"


def _counts(counts: object, unit: str) -> Iterator[str]:
    if isinstance(counts, Mapping):
        yield from (f"{name}: {count:,} {unit}" for name, count in counts.items())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
