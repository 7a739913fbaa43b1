"""Results of one protocol on the same clips side by side: what a picture may compare."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvts_bench.metrics.measured import FORWARD, Metric
from tvts_bench.provenance import digest
from tvts_bench.report.charts import Chart, Mark, interval_chart
from tvts_bench.results import Result
from tvts_bench.results.index import StoredResult, made_by
from tvts_bench.tables.base import EMBEDDED

PROTOCOLS = {
    "zero_shot_retrieval": "Zero-shot retrieval",
    "cached_probe": "Probe of cached features",
    "online_probe": "Linear probe, online",
    "finetune": "Fine-tuning",
}
SAME = ("name", "split", "gallery_split", "train_split", "exclude_same_group", "low_label")
"""What results of a group have in common of their evaluator, beside clips and version; other settings are shown."""
CONDITIONS_SHOWN = "R@1"  # of the temporal controls


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A result under its name in the group."""

    name: str
    stored: StoredResult

    @property
    def result(self) -> Result:
        """The result."""
        return self.stored.result


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Results that differ in backbone, and where `notes` say so in settings."""

    name: str  # unique on the page
    title: str
    data: str  # data set and splits
    embedded: bool
    members: tuple[Member, ...]
    notes: tuple[str, ...]

    @property
    def clips(self) -> str:
        """How many were measured, and of how many."""
        used = sorted({(item.used, item.listed) for m in self.members for item in m.result.coverage[:1]})
        return ", ".join(f"{part:,} of {whole:,} clips" for part, whole in used)


def grouped(results: Sequence[StoredResult], titles: Mapping[str, str]) -> tuple[Group, ...]:
    """Groups in the order of data set and protocol.

    Args:
        results: to be shown side by side where that is fair.
        titles: key of a run -> what a table calls its row.
    """
    by_key: dict[str, list[StoredResult]] = {}
    for stored in results:
        by_key.setdefault(_comparable(stored.result), []).append(stored)
    groups = sorted(by_key.values(), key=lambda each: (_data(each[0].result), _protocol(each[0].result)))
    return tuple(_group(f"g{number}", each, titles) for number, each in enumerate(groups))


def charts(group: Group) -> tuple[Chart, ...]:
    """One picture per metric, and one of the temporal controls where they were measured."""
    metrics = [metric for member in group.members for metric in member.result.metrics]
    forward = any(metric.condition == FORWARD for metric in metrics)
    names = list(dict.fromkeys(metric.name for metric in metrics))
    drawn = []
    for number, name in enumerate(names):
        conditions = (FORWARD,) if forward else tuple(dict.fromkeys(m.condition for m in metrics if m.name == name))
        drawn.append(_chart(group, f"{group.name}-{number}", name, name, conditions))
    controls = tuple(dict.fromkeys(metric.condition for metric in metrics if metric.name == CONDITIONS_SHOWN))
    if forward and len(controls) > 1:
        title = f"{CONDITIONS_SHOWN} when time is taken away"
        drawn.append(_chart(group, f"{group.name}-controls", title, CONDITIONS_SHOWN, controls))
    return tuple(drawn)


def _chart(group: Group, name: str, title: str, metric: str, conditions: tuple[str, ...]) -> Chart:
    marks: list[Mark] = []
    chance = None
    for member in sorted(group.members, key=lambda each: -_value(each.result, metric, conditions[0])):
        for measured in _metrics(member.result, metric, conditions):
            chance = measured.chance if chance is None else chance
            several = len(conditions) > 1
            marks.append(
                Mark(
                    label=measured.condition if several else member.name,
                    heading=member.name if several else "",
                    value=measured.value,
                    low=measured.low,
                    high=measured.high,
                    each=measured.per_seed,
                    runs=(member.result.run.key,),
                )
            )
    return interval_chart(name, title, marks, chance=chance)


def _metrics(result: Result, name: str, conditions: tuple[str, ...]) -> Iterator[Metric]:
    for condition in conditions:
        yield from (metric for metric in result.metrics if (metric.name, metric.condition) == (name, condition))


def _value(result: Result, name: str, condition: str) -> float:
    return next((metric.value for metric in _metrics(result, name, (condition,))), -1.0)


def _comparable(result: Result) -> str:
    evaluator = result.run.evaluator
    return digest([{name: evaluator.get(name) for name in SAME}, result.run.dataset, made_by(result)])


def _protocol(result: Result) -> str:
    name = str(result.run.evaluator.get("name"))
    return PROTOCOLS.get(name, name.replace("_", " "))


def _data(result: Result) -> str:
    return f"{result.run.dataset['name']} {' in '.join(item.split for item in result.coverage)}"


def _group(name: str, results: Sequence[StoredResult], titles: Mapping[str, str]) -> Group:
    first = results[0].result
    differing = _differing([stored.result for stored in results])
    names = _names(results, titles, differing)
    members = tuple(Member(name=name, stored=stored) for name, stored in zip(names, results, strict=True))
    notes = [f"{key}: {_values(key, members)}" for key in differing]
    retrieval = first.run.evaluator.get("name") == "zero_shot_retrieval"
    return Group(
        name=name,
        title=_protocol(first),
        data=_data(first) if retrieval else f"{first.run.dataset['name']} {first.coverage[0].split}",
        embedded=str(first.run.dataset["name"]).startswith(EMBEDDED),
        members=tuple(sorted(members, key=lambda member: (member.name, member.result.run.key))),
        notes=(*(["measured with different settings: " + "; ".join(notes)] if notes else []),),
    )


def _names(results: Sequence[StoredResult], titles: Mapping[str, str], differing: Sequence[str]) -> list[str]:
    """What tables call them, or their backbone; where two are the same, with what tells them apart."""
    names = [titles.get(stored.result.run.key) or backbone_name(stored.result.run.backbone) for stored in results]
    for words in zip(*(_distinctions(stored.result, differing) for stored in results), strict=True):
        for name in {name for name in names if names.count(name) > 1}:
            distinct = {word for word, other in zip(words, names, strict=True) if other == name}
            if len(distinct) > 1:
                names = [f"{old} ({word})" if old == name else old for old, word in zip(names, words, strict=True)]
    return names


def backbone_name(backbone: Mapping[str, Any]) -> str:
    """Family and variant of a run's backbone, as on the command line."""
    return ":".join(str(backbone[part]) for part in ("family", "variant") if backbone.get(part))


def _distinctions(result: Result, differing: Sequence[str]) -> tuple[str, str, str]:
    """What may tell a result from others of one name: weights, settings that differ, key."""
    settings = flat(result.run.evaluator)
    words = ", ".join(f"{key} {settings.get(key)}" for key in differing[:3])
    return str(result.run.backbone.get("weights")), words, result.run.key[:8]


def _differing(results: Sequence[Result]) -> list[str]:
    """Settings of the evaluator, dotted, in which they differ."""
    settings = [flat(result.run.evaluator) for result in results]
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def _values(key: str, members: Sequence[Member]) -> str:
    values: dict[str, list[str]] = {}
    for member in members:
        values.setdefault(flat(member.result.run.evaluator).get(key, "-"), []).append(member.name)
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by their dotted names, values as JSON."""
    flattened: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flattened |= flat(value, f"{prefix}{key}.")
        else:
            flattened[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)
    return flattened
