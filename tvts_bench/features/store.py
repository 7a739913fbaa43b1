"""Shards of features on disk, found by the content they depend on. Nothing half written is ever read.

A store is a folder named by the digest of its `FeatureKey`, with `key.json` to read what it holds and one safetensors
file for every `SHARD_RECORDS` records. The partition depends on the records alone, and a shard's name holds a digest of
its records' ids and file signatures: a video that changes, arrives or is replaced makes just its shard a new one, and
two copies of a data set with different files do not mix.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tvts_bench import provenance
from tvts_bench.atomic import SUFFIX, whole_file
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure, FeatureKey
from tvts_bench.features.disk import writing

SHARD_RECORDS = 64  # at most so many clips are lost with a killed run; part of the layout, so `FeatureKey.version`

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """Which records a shard holds, and under which name."""

    records: tuple[VideoRecord, ...]
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """The features of the readable clips among a plan's records, and why the others have none."""

    ids: tuple[str, ...]  # of the readable clips, in record order
    values: NDArray[np.float32]  # [n, D]
    failures: Mapping[str, Failure]  # by id, in record order
    decoders: Mapping[str, int]  # decoder -> clips it read
    computed_by: str  # device, batch size and versions

    @property
    def settled(self) -> bool:
        """Whether trying again later would give the same failures."""
        return not any(failure.retry for failure in self.failures.values())


def plan_shards(records: Sequence[VideoRecord]) -> list[ShardPlan]:
    """Cut `records` into shards (one `stat` and one `access` a file)."""
    plans = []
    for index, start in enumerate(range(0, len(records), SHARD_RECORDS)):
        part = tuple(records[start : start + SHARD_RECORDS])
        content = provenance.digest([(record.id, _signature(record.path)) for record in part])
        plans.append(ShardPlan(records=part, name=f"{index:05d}-{content[:16]}.safetensors"))
    return plans


def _signature(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns; None for a file that is missing or may not be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if os.access(path, os.R_OK) else None


class FeatureStore:
    """The shards of one `FeatureKey` in `parent`."""

    def __init__(self, parent: Path, key: FeatureKey) -> None:
        self.key = key
        self.folder = parent / provenance.digest(key)[:32]

    def prepare(self) -> None:
        """Make the folder, and remove what killed runs left half written. Only under the store's lock.

        Raises:
            FeatureError: no permission, no space.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(f"*{SUFFIX}"):
                leftover.unlink()
            text = json.dumps(provenance.canonical(self.key), indent=2, sort_keys=True)
            self._write("key.json", f"{text}\n".encode())

    def read(self, plan: ShardPlan) -> Shard | None:
        """The plan's shard, or None if it is not there or damaged (a warning is logged)."""
        path = self.folder / plan.name
        try:
            with safe_open(path, framework="numpy") as file:
                metadata, values = file.metadata(), file.get_tensor("values")
            shard = _from_metadata(metadata["shard"], values)
            if metadata["sha256"] != _checksum(metadata["shard"], values):
                raise ValueError("its checksum does not match")
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s); its clips are computed again", path, error)
            return None
        assert {*shard.ids, *shard.failures} == {record.id for record in plan.records}, path
        return shard

    def write(self, plan: ShardPlan, shard: Shard) -> None:
        """Keep a shard: on disk, whole, once this returns.

        Raises:
            FeatureError: no permission, no space.
        """
        description = {
            "ids": shard.ids,
            "failures": {record: asdict(failure) for record, failure in shard.failures.items()},
            "decoders": dict(shard.decoders),
            "computed_by": shard.computed_by,
        }
        text = json.dumps(description)
        metadata = {"shard": text, "sha256": _checksum(text, shard.values)}
        with writing(self.folder):
            self._write(plan.name, save({"values": shard.values}, metadata=metadata))

    def _write(self, name: str, content: bytes) -> None:
        with whole_file(self.folder / name) as file:
            file.write(content)


def _from_metadata(text: str, values: NDArray[np.float32]) -> Shard:
    description = json.loads(text)
    ids = tuple(description["ids"])
    if values.ndim != 2 or len(values) != len(ids):
        raise ValueError(f"it holds {len(ids)} ids and values of shape {values.shape}")
    failures = {record: Failure(**failure) for record, failure in description["failures"].items()}
    return Shard(
        ids=ids,
        values=values,
        failures=failures,
        decoders=description["decoders"],
        computed_by=description["computed_by"],
    )


def _checksum(text: str, values: NDArray[np.float32]) -> str:
    state = hashlib.sha256(text.encode())
    state.update(values.tobytes())
    return state.hexdigest()
