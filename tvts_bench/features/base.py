"""The types of features: what they are, what can change them, and why a clip has none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tvts_bench.snapshot import Snapshot
from tvts_bench.video.spec import ClipSpec

Dtype = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a clip has no features."""

    reason: str
    retry: bool = False  # transient (time limit, crash, memory), so the next run tries it again
    sha256: str | None = None  # of the file's content, where that could be read


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The features of a split's readable clips, in record order, and the reason for each clip that has none."""

    ids: tuple[str, ...]
    labels: NDArray[np.int64]  # [N]
    groups: tuple[str | None, ...]
    values: NDArray[np.float32]  # [N, D], the mean over the views of a clip
    failed: Mapping[str, str]  # id -> reason, in record order
    decoders: Mapping[str, int]  # decoder and version -> clips it read
    computed_by: Mapping[str, int]  # device, batch size and versions -> clips; what is in the store is of its own time
    reused: int  # records whose features or failures came from the store
    computed: int  # records decoded by this call, on all ranks
    files: Snapshot | None = None  # of all records' files, before they were read
    transient: tuple[str, ...] = ()  # ids in `failed` that the next call tries again
    damaged: tuple[str, ...] = ()  # of `ids`, those read from files of which a part had to be made up

    def only(self, ids: Collection[str]) -> "Features":
        """The features of those clips alone, in the same order; the rest of the record stays as it is."""
        if all(name in ids for name in self.ids):
            return self
        rows = np.flatnonzero([name in ids for name in self.ids])
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            groups=tuple(self.groups[row] for row in rows),
            values=self.values[rows],
        )


@dataclass(frozen=True, kw_only=True)
class FeatureKey:
    """Everything that can change features; its digest names their folder in the store."""

    backbone: str  # family and variant
    weights: str  # sha256 of where they are from: a file, or the recipe of an initialisation
    tensors: str  # sha256 of what the backbone holds now: it may have been trained since
    clip: ClipSpec
    decoder: str  # decoder and version
    records: str  # fingerprint of the data set's split
    dtype: Dtype
    version: int = 3  # raised when equal inputs give other features, or shards are laid out differently
