"""From records to features, through the store: what is there is read, what is missing is computed, shard by shard.

Several backbones that read the same clips are served by one pass over them.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import broadcast_from_rank0, run_on_all_ranks
from tvts_bench.features.base import Dtype, Failure, FeatureError, FeatureKey, Features
from tvts_bench.features.decoding import Decoded, Decoding
from tvts_bench.features.disk import locked
from tvts_bench.features.embedding import Embedder, evaluating
from tvts_bench.features.store import SHARD_RECORDS, FeatureStore, Shard, ShardPlan, plan_shards
from tvts_bench.features.workers import load_clips
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import file_signatures, snapshot
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

log = logging.getLogger(__name__)


def extract(
    backbone: Backbone,
    records: Sequence[VideoRecord],
    fingerprint: str,
    *,
    clip: ClipSpec,
    decoder: str,
    dtype: Dtype,
    runtime: Runtime,
) -> Features:
    """The features of `records`, from the store in `runtime.cache` where it has them.

    Clips that cannot be read are in `Features.failed` with the reason; those that failed due to the moment (time limit,
    crashed worker, memory) are tried again by the next call. A run that is interrupted, however, is taken up where it
    was. Under torchrun every rank must call this in `devices.distributed_runtime`, and gets all features.

    Raises:
        FeatureError: the store is in use or cannot be written, or the device's memory does not hold a batch.
        BackboneError: the backbone does not return one vector a clip.
    """
    return extract_all([backbone], records, fingerprint, clip=clip, decoder=decoder, dtype=dtype, runtime=runtime)[0]


def extract_all(
    backbones: Sequence[Backbone],
    records: Sequence[VideoRecord],
    fingerprint: str,
    *,
    clip: ClipSpec,
    decoder: str,
    dtype: Dtype,
    runtime: Runtime,
) -> tuple[Features, ...]:
    """What `extract` gives for each of `backbones`, to the bit, but every clip is decoded once for all of them.

    Each backbone has its own place in the store, and embeds only what is missing there. Those with something to embed
    are on the device together. The rest is as in `extract`.

    Raises:
        FeatureError, BackboneError: as `extract`, for any of them.
    """
    identity = {"clip": clip, "decoder": decoder_identity(decoder), "records": fingerprint, "dtype": dtype}
    keys = [_key(backbone, **identity) for backbone in backbones]
    parts = {  # two backbones with the same weights are one
        key: _Part(
            store=FeatureStore(runtime.cache / "features", key, backbone.embed_dim),
            embedder=Embedder(
                backbone,
                clip,
                dtype=dtype,
                device=runtime.device,
                batch_size=runtime.batch_size,
                at_most=min(len(records), SHARD_RECORDS),
            ),
        )
        for key, backbone in zip(keys, backbones, strict=True)
    }
    paths = {record.id: record.path for record in records}
    signatures = broadcast_from_rank0(
        runtime, lambda: file_signatures(paths)
    )  # disks may show them late to other nodes
    plans = plan_shards(records, signatures)
    with ExitStack() as stack:
        surveyed = broadcast_from_rank0(runtime, lambda: [_survey(part, plans, stack) for part in parts.values()])
        for part, missing in zip(parts.values(), surveyed, strict=True):
            part.missing = frozenset(missing)
        if wanted := sorted(frozenset().union(*surveyed)):
            mine = wanted[runtime.rank :: runtime.world_size]
            decoding = Decoding(clip=clip, decoder=decoder, workers=runtime.workers, timeout=runtime.clip_timeout)
            run_on_all_ranks(runtime, lambda: _compute(mine, plans, list(parts.values()), decoding, runtime))
        shards = run_on_all_ranks(runtime, lambda: {key: part.complete(plans) for key, part in parts.items()})
    found = {key: _assemble(records, plans, part, shards[key]) for key, part in parts.items()}
    return tuple(found[key] for key in keys)


def _key(backbone: Backbone, **identity: Any) -> FeatureKey:
    return FeatureKey(
        backbone=f"{backbone.family}-{backbone.variant}",
        weights=backbone.weights.sha256,
        tensors=tensors_sha256(backbone),
        **identity,
    )


@dataclass(eq=False, kw_only=True)
class _Part:
    """One backbone's part of an extraction: its place in the store, and what is there."""

    store: FeatureStore
    embedder: Embedder
    found: dict[str, Shard] = field(default_factory=dict)  # by the name of their plan; on rank 0 only
    missing: frozenset[int] = frozenset()  # numbers of the shards to compute

    def complete(self, plans: Sequence[ShardPlan]) -> list[Shard]:
        """All shards, once they are computed."""
        return [self._complete(plan) for plan in plans]

    def _complete(self, plan: ShardPlan) -> Shard:
        shard = self.found.get(plan.name) or self.store.read(plan)
        if shard is None:
            raise FeatureError(
                f"{self.store.folder / plan.name} is not there although it was written: the store must be on a disk"
                " that works, and that all ranks share; choose one with --cache DIR"
            )
        return shard


def _survey(part: _Part, plans: Sequence[ShardPlan], stack: ExitStack) -> list[int]:
    """Fill `part.found` with the shards that are there; numbers of those to compute, under a lock `stack` holds."""

    def absent() -> list[ShardPlan]:
        for plan in plans:
            if plan.name not in part.found and (shard := part.store.read(plan)) is not None and shard.settled:
                part.found[plan.name] = shard
        return [plan for plan in plans if plan.name not in part.found]

    if absent():
        stack.enter_context(locked(part.store.folder))
        part.store.prepare()
        # Again, since another run may have ended between the first look and the lock.
        part.found |= part.store.adopt(absent())
    return [plan.number for plan in plans if plan.name not in part.found]


def _compute(
    numbers: Sequence[int],
    plans: Sequence[ShardPlan],
    parts: Sequence[_Part],
    decoding: Decoding,
    runtime: Runtime,
) -> None:
    """Decode the shards of those numbers, and embed each for whom it is missing; it is kept as soon as it is whole."""
    records = [record for number in numbers for record in plans[number].records]
    if not records:
        return
    with ExitStack() as stack:
        for part in parts:
            if part.missing:
                stack.enter_context(evaluating(part.embedder.backbone, runtime.device))
        clips = stack.enter_context(closing(load_clips(records, decoding)))
        advance = stack.enter_context(runtime.progress(len(records), "clips", "extracting features"))
        for number in numbers:
            plan, wanting = plans[number], [part for part in parts if number in part.missing]
            outcomes = itertools.islice(clips, len(plan.records))
            shards = _shards(plan, outcomes, [part.embedder for part in wanting], advance)
            for part, shard in zip(wanting, shards, strict=True):
                part.store.write(plan, shard)


def _shards(
    plan: ShardPlan,
    outcomes: Iterator[Decoded | Failure],
    embedders: Sequence[Embedder],
    advance: Callable[[int], None],
) -> Iterator[Shard]:
    """One shard an embedder.

    Batches hold the shard's readable clips in record order, so that a shard computed again is equal to the bit.
    """
    ids: list[str] = []
    failures: dict[str, Failure] = {}
    contents: dict[str, str] = {}
    damaged: set[str] = set()
    decoders: Counter[str] = Counter()
    for record, outcome in zip(plan.records, outcomes, strict=True):
        if outcome.sha256 is not None:
            contents[record.id] = outcome.sha256
        if isinstance(outcome, Failure):
            log.info("no features for %s: %s", record.id, outcome.reason)
            failures[record.id] = outcome
        else:
            for embedder in embedders:
                embedder.add(outcome.pixels)
            ids.append(record.id)
            decoders[outcome.decoder] += 1
            if outcome.damaged:
                damaged.add(record.id)
        advance(1)
    for embedder in embedders:
        values = embedder.finish()
        finite = np.array([bool(np.isfinite(row).all()) for row in values], dtype=bool)  # [n]
        not_finite = Failure(reason="features are not finite (NaN or inf)")
        yield Shard(
            ids=tuple(ids[index] for index in np.flatnonzero(finite)),
            values=values[finite],
            failures={**failures, **{ids[index]: not_finite for index in np.flatnonzero(~finite)}},
            decoders=dict(decoders),
            computed_by=embedder.description,
            contents=contents,
            damaged=tuple(ids[index] for index in np.flatnonzero(finite) if ids[index] in damaged),
        )


def _assemble(
    records: Sequence[VideoRecord], plans: Sequence[ShardPlan], part: _Part, shards: Sequence[Shard]
) -> Features:
    signatures = {record.id: each for plan in plans for record, each in zip(plan.records, plan.signatures, strict=True)}
    contents = {name: content for shard in shards for name, content in shard.contents.items()}
    computed = sum(len(plans[number].records) for number in part.missing)
    embed_dim = part.embedder.backbone.embed_dim
    ids = tuple(record for shard in shards for record in shard.ids)
    failures = {record: failure for shard in shards for record, failure in shard.failures.items()}
    by_id = {record.id: record for record in records}
    decoders: Counter[str] = Counter()
    computed_by: Counter[str] = Counter()
    for shard in shards:
        decoders.update(shard.decoders)
        computed_by[shard.computed_by] += len(shard.ids)
    return Features(
        ids=ids,
        labels=np.array([by_id[record].label for record in ids], dtype=np.int64),
        groups=tuple(by_id[record].group for record in ids),
        values=np.concatenate([np.empty((0, embed_dim), np.float32), *(shard.values for shard in shards)]),
        failed={record.id: failures[record.id].reason for record in records if record.id in failures},
        decoders=dict(decoders),
        computed_by=dict(+computed_by),
        reused=len(records) - computed,
        computed=computed,
        files=snapshot(signatures, contents),
        transient=tuple(record.id for record in records if record.id in failures and failures[record.id].retry),
        damaged=tuple(name for shard in shards for name in shard.damaged),
    )
