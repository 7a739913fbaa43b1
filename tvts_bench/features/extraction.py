"""From records to features, through the store: what is there is read, what is missing is computed, shard by shard.

Several backbones that read the same clips are served by one pass over them.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import broadcast_from_rank0, run_on_all_ranks
from tvts_bench.errors import UserError
from tvts_bench.features.base import Dtype, Failure, FeatureKey, Features
from tvts_bench.features.decoding import Decoded, Decoding, load_clips
from tvts_bench.features.embedding import Embedder, evaluating
from tvts_bench.features.store import SHARD_RECORDS, FeatureStore, Shard, ShardPlan, locked, plan_shards
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import FileSignature, file_signatures, snapshot
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

log = logging.getLogger(__name__)

EXTRACTING = "extracting features"  # as its progress is called


def extract(
    backbones: Sequence[Backbone],
    records: Sequence[VideoRecord],
    fingerprint: str,
    *,
    clip: ClipSpec,
    decoder: str,
    dtype: Dtype,
    runtime: Runtime,
) -> tuple[Features, ...]:
    """The features that each of `backbones` gives `records`, from the store in `runtime.cache` where it has them.

    Clips that cannot be read are in `Features.failed` with the reason; those that failed due to the moment (time limit,
    crashed worker, memory) are tried again by the next call. A run that is interrupted resumes where it was. Under
    torchrun every rank must call this in `distributed.distributed_runtime`, and gets all features.

    Every clip is decoded once for all backbones, and features are bit-identical to those of a backbone by itself. Each
    has its own folder in the store, and embeds only what is missing there; those that do are on the device together.

    Args:
        backbones: Embed clips.
        records: The clips.
        fingerprint: Of the records, for the keys of the store.
        clip: What is cut out of each video.
        decoder: Of `video.reader.DECODERS`.
        dtype: Precision of the forward passes.
        runtime: Where and how fast.

    Raises:
        UserError: The store is in use or cannot be written, or the device's memory does not hold a batch.
        BackboneError: A backbone does not return one vector per clip.
    """
    identity = {"clip": clip, "decoder": decoder_identity(decoder), "records": fingerprint, "dtype": dtype}
    keys = [_key(backbone, **identity) for backbone in backbones]
    parts = {  # two backbones with the same weights are one
        key: _Part(
            store=FeatureStore(runtime.cache / "features", key, backbone.embed_dim),
            embedder=Embedder(backbone, clip, dtype=dtype, runtime=runtime, at_most=min(len(records), SHARD_RECORDS)),
        )
        for key, backbone in zip(keys, backbones, strict=True)
    }
    paths = {record.id: record.path for record in records}
    # Once, since disks may show them late to other nodes.
    signatures = broadcast_from_rank0(runtime, lambda: file_signatures(paths))
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
    features = {key: _assemble(records, signatures, plans, part, shards[key]) for key, part in parts.items()}
    return tuple(features[key] for key in keys)


def _key(backbone: Backbone, **identity: Any) -> FeatureKey:
    return FeatureKey(
        backbone=f"{backbone.family}-{backbone.variant}",
        weights=backbone.weights.sha256,
        tensors=tensors_sha256(backbone),
        **identity,
    )


@dataclass(eq=False, kw_only=True)
class _Part:
    """One backbone's part of an extraction: its folder in the store, and what is there."""

    store: FeatureStore
    embedder: Embedder
    stored: dict[str, Shard] = field(default_factory=dict)  # by the name of their plan; on rank 0 only
    missing: frozenset[int] = frozenset()  # numbers of the shards to compute

    def complete(self, plans: Sequence[ShardPlan]) -> list[Shard]:
        """All shards, once they are computed."""
        shards = [self.stored.get(plan.name) or self.store.read(plan) for plan in plans]
        for plan, shard in zip(plans, shards, strict=True):
            if shard is None:
                raise UserError(
                    f"{self.store.folder / plan.name} is not there although it was written: the store must be on a disk"
                    " that works, and that all ranks share; choose one with --cache DIR"
                )
        return [shard for shard in shards if shard is not None]


def _survey(part: _Part, plans: Sequence[ShardPlan], stack: ExitStack) -> list[int]:
    """Fill `part.stored` with the shards that are there; numbers of those to compute, under a lock `stack` holds."""

    def absent() -> list[ShardPlan]:
        for plan in plans:
            if plan.name not in part.stored and (shard := part.store.read(plan)) is not None and shard.settled:
                part.stored[plan.name] = shard
        return [plan for plan in plans if plan.name not in part.stored]

    if absent():
        stack.enter_context(locked(part.store.folder))
        part.store.prepare()
        # Again, since another run may have ended between the first look and the lock.
        part.stored |= part.store.adopt(absent())
    return [plan.number for plan in plans if plan.name not in part.stored]


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
        advance = stack.enter_context(runtime.progress(len(records), "clips", EXTRACTING))
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
    """One shard per embedder.

    Batches hold the shard's readable clips in record order, so that a shard computed again is bit-identical.
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
    not_finite = Failure(reason="features are not finite (NaN or inf)")
    for embedder in embedders:
        values = embedder.finish()
        finite: NDArray[np.bool_] = np.array(np.isfinite(values).all(axis=1))  # [n]
        used = tuple(itertools.compress(ids, finite))
        yield Shard(
            ids=used,
            values=values[finite],
            failures={**failures, **dict.fromkeys(itertools.compress(ids, ~finite), not_finite)},
            decoders=dict(decoders),
            computed_by=embedder.description,
            contents=contents,
            damaged=tuple(name for name in used if name in damaged),
        )


def _assemble(
    records: Sequence[VideoRecord],
    signatures: Mapping[str, FileSignature | None],
    plans: Sequence[ShardPlan],
    part: _Part,
    shards: Sequence[Shard],
) -> Features:
    contents = {name: content for shard in shards for name, content in shard.contents.items()}
    failures = {name: failure for shard in shards for name, failure in shard.failures.items()}
    failed = {record.id: failures[record.id] for record in records if record.id in failures}  # in record order
    computed = sum(len(plans[number].records) for number in part.missing)
    by_id = {record.id: record for record in records}
    ids = tuple(name for shard in shards for name in shard.ids)
    decoders: Counter[str] = Counter()
    computed_by: Counter[str] = Counter()
    for shard in shards:
        decoders.update(shard.decoders)
        computed_by[shard.computed_by] += len(shard.ids)
    no_values = np.empty((0, part.embedder.backbone.embed_dim), np.float32)
    return Features(
        ids=ids,
        labels=np.array([by_id[name].label for name in ids], dtype=np.int64),
        groups=tuple(by_id[name].group for name in ids),
        values=np.concatenate([no_values, *(shard.values for shard in shards)]),
        failed={name: failure.reason for name, failure in failed.items()},
        decoders=dict(decoders),
        computed_by=dict(+computed_by),
        reused=len(records) - computed,
        computed=computed,
        files=snapshot(signatures, contents),
        transient=tuple(name for name, failure in failed.items() if failure.retry),
        damaged=tuple(name for shard in shards for name in shard.damaged),
    )
