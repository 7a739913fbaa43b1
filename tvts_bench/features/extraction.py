"""From records to features, through the store: what is there is read, what is missing is computed, shard by shard."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import numpy as np

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.devices import from_rank_zero, together
from tvts_bench.features.base import Dtype, Failure, FeatureError, FeatureKey, Features
from tvts_bench.features.decoding import Decoded, Decoding
from tvts_bench.features.disk import locked
from tvts_bench.features.embedding import Embedder, evaluating
from tvts_bench.features.store import FeatureStore, Shard, ShardPlan, plan_shards
from tvts_bench.features.workers import load_clips
from tvts_bench.runtime import Runtime
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
    key = FeatureKey(
        backbone=f"{backbone.family}-{backbone.variant}",
        weights=backbone.weights.sha256,
        tensors=tensors_sha256(backbone),
        clip=clip,
        decoder=decoder_identity(decoder),
        records=fingerprint,
        dtype=dtype,
    )
    store, plans = FeatureStore(runtime.cache / "features", key), plan_shards(records)
    with ExitStack() as stack:
        found: dict[str, Shard] = {}
        missing = from_rank_zero(runtime, lambda: _survey(store, plans, found, stack))
        if missing:
            mine = [plans[index] for index in missing][runtime.rank :: runtime.world_size]
            decoding = Decoding(clip=clip, decoder=decoder, workers=runtime.workers, timeout=runtime.clip_timeout)
            embedder = Embedder(backbone, clip, dtype=dtype, device=runtime.device, batch_size=runtime.batch_size)
            together(runtime, lambda: _compute(mine, store, decoding, embedder, runtime))
        shards = together(runtime, lambda: [_complete(store, plan, found) for plan in plans])
    computed = sum(len(plans[index].records) for index in missing)
    return _assemble(records, shards, backbone.embed_dim, computed)


def _survey(store: FeatureStore, plans: list[ShardPlan], found: dict[str, Shard], stack: ExitStack) -> list[int]:
    """Fill `found` with the shards that are there; indices of those to compute, under a lock that `stack` holds."""

    def absent() -> list[int]:
        for plan in plans:
            if plan.name not in found and (shard := store.read(plan)) is not None and shard.settled:
                found[plan.name] = shard
        return [index for index, plan in enumerate(plans) if plan.name not in found]

    if absent():
        stack.enter_context(locked(store.folder))
        store.prepare()
    return absent()  # again, since another run may have ended between the first look and the lock


def _compute(
    plans: list[ShardPlan], store: FeatureStore, decoding: Decoding, embedder: Embedder, runtime: Runtime
) -> None:
    """Decode and embed the plans' records; each shard is kept as soon as it is whole."""
    records = [record for plan in plans for record in plan.records]
    if not records:
        return
    with (
        evaluating(embedder.backbone, runtime.device),
        closing(load_clips(records, decoding)) as clips,
        runtime.progress(len(records), "clips", "extracting features") as advance,
    ):
        for plan in plans:
            outcomes = itertools.islice(clips, len(plan.records))
            store.write(plan, _shard(plan, outcomes, embedder, advance))


def _shard(
    plan: ShardPlan, outcomes: Iterator[Decoded | Failure], embedder: Embedder, advance: Callable[[int], None]
) -> Shard:
    """Batches hold the shard's readable clips in record order, so that a shard computed again is equal to the bit."""
    ids: list[str] = []
    failures: dict[str, Failure] = {}
    decoders: Counter[str] = Counter()
    for record, outcome in zip(plan.records, outcomes, strict=True):
        if isinstance(outcome, Failure):
            log.info("no features for %s: %s", record.id, outcome.reason)
            failures[record.id] = outcome
        else:
            embedder.add(outcome.pixels)
            ids.append(record.id)
            decoders[outcome.decoder] += 1
        advance(1)
    values = embedder.finish()
    finite = np.array([bool(np.isfinite(row).all()) for row in values], dtype=bool)  # [n]
    for index in np.flatnonzero(~finite):
        failures[ids[index]] = Failure(reason="features are not finite (NaN or inf)")
    kept = tuple(ids[index] for index in np.flatnonzero(finite))
    return Shard(
        ids=kept,
        values=values[finite],
        failures=failures,
        decoders=dict(decoders),
        computed_by=embedder.description,
    )


def _complete(store: FeatureStore, plan: ShardPlan, found: dict[str, Shard]) -> Shard:
    shard = found.get(plan.name) or store.read(plan)
    if shard is None:
        raise FeatureError(
            f"{store.folder / plan.name} is not there although it was written: the store must be on a disk that works, "
            "and that all ranks share; choose one with --cache DIR"
        )
    return shard


def _assemble(records: Sequence[VideoRecord], shards: list[Shard], embed_dim: int, computed: int) -> Features:
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
    )
