"""Zero-shot video-to-video retrieval: frozen features, exact cosine neighbours, Recall@K (paper, section 4.2, Table 4).

Two settings. *Leave-one-out*, the paper's: every clip of one split queries all others. *Query against gallery*, as
UCF-101 and HMDB-51 papers do: the clips of one split query those of another (test against train).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import EvaluationError, Outcome
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.bootstrap import bootstrap_interval
from tvts_bench.metrics.measured import FORWARD, Metric, SplitCoverage, failure_line
from tvts_bench.metrics.retrieval import any_hits, average_precision_at_r, chance_recall, num_relevant
from tvts_bench.neighbors import Embedded, Neighbors, nearest
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec, FrameOrder

DEFAULT_KS = (1, 5, 10)  # the paper's
MAX_R = 1000  # mAP@R needs as many neighbours as the largest class has clips; beyond this it is left out, with a note

CONTROLS: tuple[FrameOrder, ...] = ("shuffled", "reversed", "single")


@dataclass(frozen=True, kw_only=True)
class ZeroShotRetrieval:
    """The protocol. With the defaults it is the paper's, except that frames are segment centres instead of random."""

    name: ClassVar[str] = "zero_shot_retrieval"

    split: str | None = None  # the queries; None: the split that the data set's papers evaluate
    gallery_split: str | None = None  # None: leave-one-out
    ks: tuple[int, ...] | None = None  # None: 1, 5 and 10, as far as the gallery allows
    exclude_same_group: bool = False  # neighbours cut from the query's own source do not count
    clip: ClipSpec | None = None  # None: the backbone's own
    seeds: tuple[int, ...] = (0,)  # of random frames; several give mean and spread
    controls: tuple[FrameOrder, ...] = ()  # also measured on clips whose time was taken away
    decoder: str = "decord"
    dtype: Dtype = "fp32"

    def __post_init__(self) -> None:
        if self.ks is not None and (not self.ks or min(self.ks) < 1):
            raise EvaluationError(f"every --k must be at least 1, got {list(self.ks)}")
        if not self.seeds:
            raise EvaluationError("at least one seed is needed")
        if self.gallery_split is not None and self.gallery_split == self.split:
            raise EvaluationError(
                f"queries and gallery are both {self.split!r}; leave out --gallery-split to search a split in itself"
            )

    def resolve(self, backbone: Backbone, dataset: Dataset) -> Self:
        """With the data set's usual split and the backbone's own clip where none was given."""
        return replace(self, split=self.split or dataset.info.default_split, clip=self.clip or backbone.clip_spec)

    def run(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Outcome:
        """Features, neighbours, metrics.

        Raises:
            EvaluationError: no class has two clips, or a clip cannot be read and `runtime.strict` is set.
            NeighborError: K is larger than the gallery.
        """
        search = _Search(self.resolve(backbone, dataset), backbone, dataset, runtime)
        search.refuse_impossible()
        conditions: tuple[FrameOrder, ...] = (FORWARD, *self.controls)
        measured = {condition: search.measure(condition) for condition in conditions}
        metrics = tuple(metric for per_seed in measured.values() for metric in _summarise(per_seed))
        forward = measured[FORWARD]
        return Outcome(
            metrics=metrics,
            coverage=tuple(search.coverage.values()),
            decoders=search.decoders,
            tables={"neighbors": _stacked([ranking.table for ranking in forward])},
            notes=tuple(dict.fromkeys(note for ranking in forward for note in ranking.notes)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ranking:
    """One search: what each query scored, under which condition and seed."""

    condition: FrameOrder
    scores: Mapping[str, npt.NDArray[np.float64]]  # metric name -> value of each query in 0..1; nan: not defined for it
    chance: Mapping[str, float]
    table: Mapping[str, npt.NDArray[Any]]
    notes: tuple[str, ...]


class _Search:
    """Runs the searches of one evaluation and remembers what they covered."""

    def __init__(self, protocol: ZeroShotRetrieval, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> None:
        assert protocol.split is not None
        assert protocol.clip is not None
        self.protocol, self.backbone, self.dataset, self.runtime = protocol, backbone, dataset, runtime
        self.split, self.gallery_split, self.clip = protocol.split, protocol.gallery_split, protocol.clip
        self.coverage: dict[str, SplitCoverage] = {}
        self.decoders: dict[str, int] = {}

    def refuse_impossible(self) -> None:
        """What the lists alone show to be impossible is said before hours of decoding."""
        labels = np.array([record.label for record in self.dataset.records(self.split)])
        if self.gallery_split is None:
            _require_pairs(labels, self.dataset.name, self.split)
        gallery = self.dataset.records(self.gallery_split or self.split)
        if self.protocol.exclude_same_group and all(record.group is None for record in gallery):
            raise EvaluationError(
                f"{self.dataset.name} does not say which clips come from one source: leave out --exclude-same-group"
            )
        _ks(self.protocol.ks, len(gallery) - (self.gallery_split is None))

    def measure(self, condition: FrameOrder) -> list[_Ranking]:
        """One ranking a seed."""
        return [self._rank(condition, seed) for seed in self.protocol.seeds]

    def _features(self, split: str, clip: ClipSpec) -> Features:
        records, fingerprint = self.dataset.records(split), self.dataset.fingerprint(split)
        found = extract(
            self.backbone,
            records,
            fingerprint,
            clip=clip,
            decoder=self.protocol.decoder,
            dtype=self.protocol.dtype,
            runtime=self.runtime,
        )
        if found.failed and (self.runtime.strict or not found.ids):
            first, reason = next(iter(found.failed.items()))
            way_out = "; without --strict they are left out and counted" if found.ids else ""
            raise EvaluationError(
                f"{len(found.failed)} of {len(records)} clips of {split} cannot be measured, the first:"
                f" {failure_line(first, reason)}{way_out}"
            )
        self.coverage[split] = SplitCoverage(
            split=split,
            fingerprint=fingerprint,
            listed=len(records),
            used=len(found.ids),
            failed=dict(found.failed),
            official=tuple(self.dataset.info.official_sizes.get(split, ())),
        )
        for decoder, count in found.decoders.items():
            self.decoders[decoder] = max(count, self.decoders.get(decoder, 0))
        return found

    def _rank(self, condition: FrameOrder, seed: int) -> _Ranking:
        clip = replace(self.clip, seed=seed, frame_order=condition)
        queries = self._features(self.split, clip)
        gallery = self._features(self.gallery_split, clip) if self.gallery_split else queries
        same_set = self.gallery_split is None
        if same_set:
            _require_pairs(queries.labels, self.dataset.name, self.split)
        ks = _ks(self.protocol.ks, len(gallery.ids) - same_set)
        groups = gallery.groups if self.protocol.exclude_same_group else None
        relevant = num_relevant(
            queries.labels,
            gallery.labels,
            same_set=same_set,
            query_groups=queries.groups if groups else None,
            gallery_groups=groups,
        )
        depth, notes = _depth(ks, relevant)
        found = nearest(
            _embedded(queries),
            _embedded(gallery),
            depth,
            exclude_same_group=self.protocol.exclude_same_group,
            device=self.runtime.device,
        )
        hits = any_hits(found.indices, queries.labels, gallery.labels, ks)
        scores = {f"R@{k}": hits[k].astype(np.float64) for k in ks}
        if 0 < relevant.max() <= depth:
            scores["mAP@R"] = average_precision_at_r(found.indices, queries.labels, gallery.labels, relevant)
        chance = chance_recall(
            queries.labels,
            gallery.labels,
            ks,
            same_set=same_set,
            query_groups=queries.groups if groups else None,
            gallery_groups=groups,
        )
        lonely = int((relevant == 0).sum())
        if lonely:
            notes = (*notes, f"{lonely} queries have no clip of their class to find: they count as misses")
        if len(ks) < len(DEFAULT_KS) and self.protocol.ks is None:
            notes = (*notes, f"the gallery of {len(gallery.ids)} clips is too small for some of R@1, R@5, R@10")
        return _Ranking(
            condition=condition,
            scores=scores,
            chance={f"R@{k}": value for k, value in chance.items()},
            table=_neighbor_table(queries, gallery, found, max(ks), seed),
            notes=notes,
        )


def _ks(asked: tuple[int, ...] | None, available: int) -> tuple[int, ...]:
    """The K to report. Asked-for ones are kept, for `nearest` to refuse; the default ones shrink with the gallery."""
    if asked is None:
        return tuple(k for k in DEFAULT_KS if k <= max(available, 1))
    if max(asked) > available:
        raise EvaluationError(f"--k {max(asked)} is larger than the gallery: {available} clips can be found by a query")
    return tuple(sorted(set(asked)))


def _require_pairs(labels: npt.NDArray[Any], name: str, split: str) -> None:
    counts = np.unique(labels, return_counts=True)[1]
    if not len(counts) or counts.max() < 2:
        raise EvaluationError(
            f"every class of {name} {split} has fewer than two readable clips: leave-one-out has nothing to find;"
            " give a --gallery-split, or a data set with two clips in a class"
        )


def _depth(ks: Sequence[int], relevant: npt.NDArray[np.int64]) -> tuple[int, tuple[str, ...]]:
    """Neighbours to search: enough for the largest K, and for mAP@R where classes are not too large."""
    largest = int(relevant.max(initial=0))
    if largest > MAX_R:
        return max(ks), (f"mAP@R is left out: a class has {largest} relevant clips, more than {MAX_R}",)
    return max(*ks, largest), ()


def _embedded(features: Features) -> Embedded:
    return Embedded(ids=features.ids, values=features.values, groups=features.groups)


def _summarise(rankings: Sequence[_Ranking]) -> list[Metric]:
    """Mean over seeds of each metric; the interval is over queries, each query's score averaged over the seeds."""
    metrics = []
    for name in rankings[0].scores:
        per_query = [ranking.scores[name] for ranking in rankings if name in ranking.scores]
        per_seed = tuple(100 * float(np.nanmean(scores)) for scores in per_query)
        interval = bootstrap_interval(np.mean(per_query, axis=0))
        metrics.append(
            Metric(
                name=name,
                condition=rankings[0].condition,
                value=float(np.mean(per_seed)),
                low=100 * interval.low,
                high=100 * interval.high,
                chance=rankings[0].chance.get(name),
                per_seed=per_seed if len(per_seed) > 1 else (),
            )
        )
    return metrics


def _neighbor_table(
    queries: Features, gallery: Features, found: Neighbors, k: int, seed: int
) -> Mapping[str, npt.NDArray[Any]]:
    """One row a query and rank: who was found, how near, and whether it is a hit."""
    rows, ranks = np.nonzero(found.indices[:, :k] >= 0)
    targets = found.indices[rows, ranks]
    return {
        "seed": np.full(len(rows), seed),
        "query": np.asarray(queries.ids, dtype=object)[rows],
        "query_label": queries.labels[rows],
        "rank": ranks + 1,
        "neighbor": np.asarray(gallery.ids, dtype=object)[targets],
        "neighbor_label": gallery.labels[targets],
        "similarity": found.similarities[rows, ranks],
        "hit": queries.labels[rows] == gallery.labels[targets],
    }


def _stacked(tables: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}


DEFAULT = ZeroShotRetrieval()
