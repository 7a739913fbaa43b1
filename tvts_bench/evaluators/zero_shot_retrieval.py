"""Zero-shot video-to-video retrieval: frozen features, exact cosine neighbours, Recall@K (paper, section 4.2, Table 4).

Two settings. *Leave-one-out*, the paper's: every clip of one split queries all others. *Query against gallery*, as
UCF-101 and HMDB-51 papers do: the clips of one split query those of another (test against train).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.distributed import broadcast_from_rank0
from tvts_bench.errors import UserError
from tvts_bench.evaluators.base import Outcome
from tvts_bench.evaluators.splits import SplitFeatures, extract_split
from tvts_bench.features.base import Dtype, Features
from tvts_bench.metrics.measured import FORWARD, Metric
from tvts_bench.metrics.retrieval import (
    DEFAULT_KS,
    any_hits,
    average_precision_at_r,
    chance_recall,
    num_candidates,
    num_relevant,
)
from tvts_bench.metrics.significance import bootstrap_interval
from tvts_bench.neighbors import EmbeddingSet, Neighbors, nearest
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec, FrameOrder


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """One search: what each query scored, under which condition and seed."""

    condition: FrameOrder
    scores: Mapping[str, npt.NDArray[np.float64]]  # metric name -> value of each query in 0..1; nan: not defined for it
    chance: Mapping[str, float]
    table: Mapping[str, npt.NDArray[Any]]
    notes: tuple[str, ...]


def summarise(rankings: Sequence[Ranking]) -> list[Metric]:
    """Mean over seeds of each metric; the interval is over queries, each query's score averaged over the seeds."""
    metrics = []
    for name in rankings[0].scores:
        per_query = [ranking.scores[name] for ranking in rankings if name in ranking.scores]
        per_seed = tuple(100 * float(np.nanmean(scores)) for scores in per_query)
        interval = bootstrap_interval(np.mean(per_query, axis=0))
        chance = rankings[0].chance.get(name)
        metrics.append(Metric.over_seeds(name, rankings[0].condition, per_seed, interval, chance))
    return metrics


def neighbor_table(
    queries: Features, gallery: Features, neighbors: Neighbors, k: int, seed: int
) -> Mapping[str, npt.NDArray[Any]]:
    """One row per query and rank: the neighbour, how near it is, and whether it is a hit.

    Args:
        queries: Q clips.
        gallery: N clips.
        neighbors: of the queries.
        k: how many of each are listed.
        seed: of the search.
    """
    rows, ranks = np.nonzero(neighbors.indices[:, :k] >= 0)
    targets = neighbors.indices[rows, ranks]
    return {
        "seed": np.full(len(rows), seed),
        "query": np.asarray(queries.ids, dtype=object)[rows],
        "query_label": queries.labels[rows],
        "rank": ranks + 1,
        "neighbor": np.asarray(gallery.ids, dtype=object)[targets],
        "neighbor_label": gallery.labels[targets],
        "similarity": neighbors.similarities[rows, ranks],
        "hit": queries.labels[rows] == gallery.labels[targets],
    }


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
    clip: ClipSpec | None = None  # None: the backbone's own. Its frames in order: other orders are `controls`
    seeds: tuple[int, ...] | None = None  # of random frames; several give mean and spread. None: the clip's own
    controls: tuple[FrameOrder, ...] = ()  # also measured on clips whose time was taken away
    decoder: str = "decord"
    dtype: Dtype = "fp32"

    def __post_init__(self) -> None:
        if self.ks is not None and (not self.ks or min(self.ks) < 1):
            raise UserError(f"every --k must be at least 1, got {list(self.ks)}")
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise UserError(f"seeds must be one or more different numbers, got {list(self.seeds)}")
        if self.clip is not None and self.clip.frame_order != FORWARD:
            raise UserError(f"clips in the order {self.clip.frame_order!r} are a control: name it in `controls`")
        if self.gallery_split is not None and self.gallery_split == self.split:
            raise UserError(
                f"queries and gallery are both {self.split!r}; leave out --gallery-split to search a split in itself"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Queries, and where it is another split, gallery; of a resolved protocol."""
        assert self.split is not None
        return (self.split,) if self.gallery_split is None else (self.split, self.gallery_split)

    def resolve(self, backbone: Backbone, dataset: Dataset) -> Self:
        """With the data set's usual split and the backbone's own clip where none was given, K in order.

        Raises:
            UserError: several seeds for frames that no seed changes.
        """
        clip = self.clip or backbone.clip_spec
        seeds = self.seeds or (clip.seed,)
        if len(seeds) > 1 and clip.position != "random":
            raise UserError(f"{len(seeds)} seeds repeat random frames, but the frames are fixed: add --sampling random")
        return replace(
            self,
            split=self.split or dataset.info.default_split,
            ks=self.ks and tuple(sorted(set(self.ks))),
            clip=replace(clip, seed=seeds[0]),
            seeds=seeds,
        )

    def in_words(self, seeds: Sequence[int]) -> tuple[str, ...]:
        """The setting and the clips of a resolved protocol, one line each."""
        setting = f"{self.split} in {self.gallery_split}" if self.gallery_split else f"{self.split}, leave-one-out"
        excluded = ", neighbours of the query's own group excluded" if self.exclude_same_group else ""
        return (
            f"search of {setting}{excluded}",
            f"clips of {self.clip}, seeds {', '.join(map(str, seeds))}, {self.dtype}",
        )

    def prepare(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> tuple[tuple[str, ClipSpec], ...]:
        """See `FromFeatures`."""
        search = _Search(self.resolve(backbone, dataset), backbone, dataset, runtime)
        search.refuse_impossible()
        return tuple((split, clip) for split in search.splits for clip in search.clips)

    def run(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Outcome:
        """Features, neighbours, metrics.

        Args:
            backbone: is not changed.
            dataset: has the splits.
            runtime: device, workers, folders: what changes no number.

        Raises:
            UserError: no class has two clips, groups are needed and missing, or a clip cannot be read and
                `runtime.strict` is set.
            UserError: K is larger than the gallery.
        """
        search = _Search(self.resolve(backbone, dataset), backbone, dataset, runtime)
        search.refuse_impossible()
        extracted = search.extract()
        return broadcast_from_rank0(runtime, lambda: search.outcome(extracted))


class _Search:
    """The searches of one evaluation: one per condition and seed, all of them over the same clips."""

    def __init__(self, protocol: ZeroShotRetrieval, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> None:
        assert protocol.clip is not None
        assert protocol.seeds is not None
        self.protocol, self.backbone, self.dataset, self.runtime = protocol, backbone, dataset, runtime
        self.splits, self.clip, self.seeds = protocol.splits, protocol.clip, protocol.seeds
        self.split, self.gallery_split = self.splits[0], protocol.gallery_split
        self.conditions: tuple[FrameOrder, ...] = (FORWARD, *protocol.controls)

    def refuse_impossible(self) -> None:
        """Refuse what the lists alone show to be impossible, before hours of decoding."""
        labels = np.array([record.label for record in self.dataset.records(self.split)])
        if self.gallery_split is None:
            _require_pairs(labels, self.dataset.name, self.split)
        if self.protocol.exclude_same_group:
            for split in self.splits:
                if all(record.group is None for record in self.dataset.records(split)):
                    raise UserError(
                        f"{self.dataset.name} {split} does not say which clips are of one group:"
                        " leave out --exclude-same-group"
                    )
        gallery = self.dataset.records(self.splits[-1])
        _ks(self.protocol.ks, len(gallery) - (self.gallery_split is None))

    def clip_of(self, condition: FrameOrder, seed: int) -> ClipSpec:
        """The clip of one search."""
        return replace(self.clip, seed=seed, frame_order=condition)

    @property
    def clips(self) -> list[ClipSpec]:
        """The clips of all searches."""
        return [self.clip_of(condition, seed) for condition in self.conditions for seed in self.seeds]

    def extract(self) -> tuple[SplitFeatures, ...]:
        """The features for all searches, of each split."""
        extract = partial(extract_split, decoder=self.protocol.decoder, dtype=self.protocol.dtype, runtime=self.runtime)
        return tuple(extract(self.backbone, self.dataset, split, self.clips) for split in self.splits)

    def outcome(self, extracted: Sequence[SplitFeatures]) -> Outcome:
        """Neighbours and metrics under every condition, with every seed."""
        measured = {
            condition: [self._rank(condition, seed, extracted) for seed in self.seeds] for condition in self.conditions
        }
        forward = measured[FORWARD]
        notes = [note for ranking in forward for note in ranking.notes]
        return Outcome(
            metrics=tuple(metric for per_seed in measured.values() for metric in summarise(per_seed)),
            coverage=tuple(features.coverage for features in extracted),
            decoders=sum((features.decoders for features in extracted), Counter()),
            computed_by=sum((features.computed_by for features in extracted), Counter()),
            tables={
                "neighbors": {name: np.concatenate([one.table[name] for one in forward]) for name in forward[0].table}
            },
            protocol=self.protocol.in_words(self.seeds),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _rank(self, condition: FrameOrder, seed: int, extracted: Sequence[SplitFeatures]) -> Ranking:
        clip = self.clip_of(condition, seed)
        queries = extracted[0].under(clip)
        gallery = queries if self.gallery_split is None else extracted[1].under(clip)
        if self.gallery_split is None:
            _require_pairs(queries.labels, self.dataset.name, self.split)
        relevant, candidates = self._counts(queries, gallery)
        ks = _ks(self.protocol.ks, int(candidates.max(initial=0)))
        depth, notes = _depth(ks, relevant)
        neighbors = nearest(
            EmbeddingSet(ids=queries.ids, values=queries.values, groups=queries.groups),
            EmbeddingSet(ids=gallery.ids, values=gallery.values, groups=gallery.groups),
            depth,
            exclude_same_group=self.protocol.exclude_same_group,
            device=self.runtime.device,
        )
        hits = any_hits(neighbors.indices, queries.labels, gallery.labels, ks)
        scores = {f"R@{k}": hits[k].astype(np.float64) for k in ks}
        if 0 < relevant.max() <= depth:
            scores["mAP@R"] = average_precision_at_r(neighbors.indices, queries.labels, gallery.labels, relevant)
        lonely = int((relevant == 0).sum())
        if lonely:
            notes = (*notes, f"{lonely} queries have no clip of their class to find: they count as misses")
        if len(ks) < len(DEFAULT_KS) and self.protocol.ks is None:
            notes = (*notes, f"the gallery of {len(gallery.ids)} clips is too small for some of R@1, R@5, R@10")
        return Ranking(
            condition=condition,
            scores=scores,
            chance={f"R@{k}": value for k, value in chance_recall(relevant, candidates, ks).items()},
            table=neighbor_table(queries, gallery, neighbors, max(ks), seed),
            notes=notes,
        )

    def _counts(self, queries: Features, gallery: Features) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many clips of its own class, and how many of any, each query may find, [Q] each."""
        in_gallery = frozenset(gallery.ids)
        removed: dict[str, Any] = {"same_set": np.array([name in in_gallery for name in queries.ids], dtype=np.bool_)}
        if self.protocol.exclude_same_group:
            removed |= {"query_groups": queries.groups, "gallery_groups": gallery.groups}
        return (
            num_relevant(queries.labels, gallery.labels, **removed),
            num_candidates(queries.labels, gallery.labels, **removed),
        )


def _ks(ks: tuple[int, ...] | None, available: int) -> tuple[int, ...]:
    """The K to report: the default ones shrink with the gallery, others must fit into it."""
    if ks is None:
        return tuple(k for k in DEFAULT_KS if k <= max(available, 1))
    if max(ks) > available:
        raise UserError(f"--k {max(ks)} is larger than the gallery: {available} clips can be found by a query")
    return tuple(sorted(set(ks)))


def _require_pairs(labels: npt.NDArray[Any], name: str, split: str) -> None:
    counts = np.unique(labels, return_counts=True)[1]
    if not len(counts) or counts.max() < 2:
        raise UserError(
            f"every class of {name} {split} has fewer than two readable clips: leave-one-out has nothing to find;"
            " give a --gallery-split, or a data set with two clips in a class"
        )


def _depth(ks: Sequence[int], relevant: npt.NDArray[np.int64]) -> tuple[int, tuple[str, ...]]:
    """Neighbours to search: enough for the largest K, and for mAP@R where classes are not too large."""
    largest = int(relevant.max(initial=0))
    if largest > MAX_R:
        return max(ks), (f"mAP@R is left out: a class has {largest} relevant clips, more than {MAX_R}",)
    return max(*ks, largest), ()


DEFAULT = ZeroShotRetrieval()
