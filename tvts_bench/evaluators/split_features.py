"""The features of a split under one or several clip specifications, and what they cover: what evaluators start from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import EvaluationError
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.measured import SplitCoverage, damage_line, failure_line
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFeatures:
    """One split under every clip of an evaluation (its seeds, its controls), all over the same videos.

    A video that cannot be read under one of them (it timed out once, say) is left out of all: their numbers are
    compared, and averaged query by query.
    """

    coverage: SplitCoverage
    found: Mapping[ClipSpec, Features]

    def under(self, clip: ClipSpec) -> Features:
        """The features of the videos that every clip could be cut from."""
        return self.found[clip].only(self._read)

    @cached_property
    def _read(self) -> frozenset[str]:
        return _read_by_all(tuple(self.found.values()))

    @property
    def decoders(self) -> Counter[str]:
        """How many videos each decoder read."""
        return _most(features.decoders for features in self.found.values())

    @property
    def computed_by(self) -> Counter[str]:
        """How many videos were embedded on which device, in which batches, with which versions."""
        return _most(features.computed_by for features in self.found.values())


def extract_split(
    backbone: Backbone,
    dataset: Dataset,
    split: str,
    clips: Sequence[ClipSpec],
    *,
    decoder: str,
    dtype: Dtype,
    runtime: Runtime,
) -> SplitFeatures:
    """The features of `split` under each of `clips`, held together in memory: N x D float32 a clip.

    Raises:
        EvaluationError: nothing can be read, or something cannot or is damaged and `runtime.strict` is set.
    """
    records, fingerprint = dataset.records(split), dataset.fingerprint(split)
    found: dict[ClipSpec, Features] = {}
    for clip in clips:
        (features,) = extract(
            [backbone], records, fingerprint, clip=clip, decoder=decoder, dtype=dtype, runtime=runtime
        )
        if features.failed and (runtime.strict or not features.ids):
            first, reason = next(iter(features.failed.items()))
            way_out = "; without --strict they are left out and counted" if features.ids else ""
            raise EvaluationError(
                f"{len(features.failed)} of {len(records)} clips of {split} cannot be measured, the first:"
                f" {failure_line(first, reason)}{way_out}"
            )
        if features.damaged and runtime.strict:
            line = damage_line(features.damaged, len(records), split)
            raise EvaluationError(f"{line}; without --strict they are measured and named")
        found[clip] = features
    transient = {name for features in found.values() for name in features.transient}
    damaged = {name for features in found.values() for name in features.damaged}
    reasons: dict[str, str] = {}
    for features in found.values():
        reasons = {**features.failed, **reasons}  # the first reason stays
    coverage = SplitCoverage(
        split=split,
        fingerprint=fingerprint,
        listed=len(records),
        used=len(_read_by_all(tuple(found.values()))),
        failed={record.id: reasons[record.id] for record in records if record.id in reasons},
        official=tuple(dataset.info.official_sizes.get(split, ())),
        files=found[clips[0]].files,
        transient=tuple(record.id for record in records if record.id in transient),
        damaged=tuple(record.id for record in records if record.id in damaged and record.id not in reasons),
    )
    return SplitFeatures(coverage=coverage, found=found)


def _read_by_all(found: Sequence[Features]) -> frozenset[str]:
    return frozenset.intersection(*(frozenset(features.ids) for features in found))


def _most(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The largest of each count: a video that was read for several clips counts once."""
    most: Counter[str] = Counter()
    for count in counts:
        most |= Counter(count)
    return most
