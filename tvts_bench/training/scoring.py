"""The logits of a classifier for every clip of a list, over all its views, while and after training."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import all_gather_objects, run_on_all_ranks
from tvts_bench.features.base import Failure
from tvts_bench.features.decoding import Decoded, Decoding, load_clips
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import content_sha256
from tvts_bench.training.optim import autocast
from tvts_bench.training.recipe import Precision
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import normalise

KEPT_BYTES = 2**30  # decoded clips that may stay in memory between two measurements


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """The logits of every clip that could be read, in the order of the records."""

    ids: tuple[str, ...]
    labels: NDArray[np.int64]  # [N]
    logits: NDArray[np.float32]  # [N, V, C], of every view
    failed: Mapping[str, str]  # id -> reason
    transient: tuple[str, ...]  # ids in `failed` that may be readable another time
    decoders: Mapping[str, int]  # decoder and version -> clips it read
    damaged: tuple[str, ...] = ()  # of `ids`, those read from files of which a part had to be made up


class Scorer:
    """Scores one list of records, as often as needed; under torchrun every rank scores its share and gets all.

    A small list is decoded once and kept (up to `KEPT_BYTES`, uint8), so that measuring after each epoch costs little.
    """

    def __init__(self, records: Sequence[VideoRecord], clip: ClipSpec, decoder: str, runtime: Runtime) -> None:
        """Read nothing yet.

        Args:
            records: scored in this order.
            clip: what is decoded of each, all its views.
            decoder: by name.
            runtime: device, ranks, workers; changes no number but for rounding.
        """
        self.records, self.clip, self.runtime = records, clip, runtime
        self._mine = records[runtime.rank :: runtime.world_size]
        self._decoding = Decoding(clip=clip, decoder=decoder, workers=runtime.workers, timeout=runtime.clip_timeout)
        self._fits = len(self._mine) * clip.num_bytes <= KEPT_BYTES
        self._kept: list[Decoded | Failure] | None = None

    def score(self, model: nn.Module, precision: Precision, num_classes: int) -> Scores:
        """The logits that `model` gives in evaluation mode; its mode is restored.

        Args:
            model: from normalised clips [B, 3, T, H, W] to logits [B, C], on the runtime's device.
            precision: that it computes in.
            num_classes: C.

        Returns:
            Logits [N, V, C] of all records that can be read, the same on every rank.

        Raises:
            UserError: on every rank, if one of them cannot score.
        """
        training = model.training
        model.eval()
        try:
            mine = run_on_all_ranks(self.runtime, lambda: self._score(model, precision))
        finally:
            model.train(training)
        shares = all_gather_objects(mine, self.runtime.world_size)
        outcomes = {name: outcome for share in shares for name, outcome in share.items()}
        return _in_order(self.records, outcomes, (self.clip.num_views, num_classes))

    def contents(self) -> dict[str, str]:
        """SHA-256 (hex) of every file by id, or `UNREADABLE`; each rank reads its share. All ranks must call this."""
        with ThreadPoolExecutor(max(1, self.runtime.workers)) as pool:  # hashing lets other threads run
            read = pool.map(content_sha256, (record.path for record in self._mine))
            mine = dict(zip((record.id for record in self._mine), read, strict=True))
        return {
            name: each for share in all_gather_objects(mine, self.runtime.world_size) for name, each in share.items()
        }

    def _score(self, model: nn.Module, precision: Precision) -> "dict[str, _Scored | Failure]":
        """This rank's share by id: whole clips are collected until a batch of views is full."""
        share: dict[str, _Scored | Failure] = {}
        staged: dict[str, Decoded] = {}
        enough = max(1, self.runtime.batch_size // self.clip.num_views)  # clips in a batch
        with self.runtime.progress(len(self._mine), "clips", "testing") as advance:
            for record, outcome in zip(self._mine, self._outcomes(), strict=True):
                if isinstance(outcome, Failure):
                    share[record.id] = outcome
                else:
                    staged[record.id] = outcome
                if len(staged) == enough:
                    share |= self._forward(model, precision, staged)
                    staged = {}
                advance(1)
            return share | self._forward(model, precision, staged)

    def _outcomes(self) -> Iterator[Decoded | Failure]:
        """Every clip of this rank's share, from memory where it is there."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Decoded | Failure] = []
        with closing(load_clips(self._mine, self._decoding)) as clips:
            for outcome in clips:
                # The loader uses its memory again once the next clip is read.
                own = outcome if isinstance(outcome, Failure) else outcome._replace(pixels=outcome.pixels.clone())
                if self._fits:
                    kept.append(own)
                yield own
        # What failed for the moment is read again by the next measurement.
        if self._fits and not any(isinstance(each, Failure) and each.retry for each in kept):
            self._kept = kept

    @torch.inference_mode()
    def _forward(self, model: nn.Module, precision: Precision, staged: Mapping[str, Decoded]) -> "dict[str, _Scored]":
        """The logits of the staged clips."""
        if not staged:
            return {}
        views = torch.cat([clip.pixels for clip in staged.values()])  # uint8 [clips * V, 3, T, H, W]
        device = self.runtime.device
        rows = []
        for part in views.split(self.runtime.batch_size):
            pixels = normalise(part.to(device, non_blocking=True), self.clip.mean, self.clip.std)
            with autocast(device, precision):
                rows.append(model(pixels).float().cpu())
        logits = torch.cat(rows).unflatten(0, (len(staged), self.clip.num_views)).numpy()  # [clips, V, C]
        return {
            name: _Scored(row, clip.decoder, bool(clip.damaged))
            for (name, clip), row in zip(staged.items(), logits, strict=True)
        }


class _Scored(NamedTuple):
    """What one clip gave."""

    logits: NDArray[np.float32]  # [V, C]
    decoder: str
    is_damaged: bool


def _in_order(
    records: Sequence[VideoRecord], outcomes: Mapping[str, _Scored | Failure], shape: tuple[int, int]
) -> Scores:
    """In the order of the records, whoever scored them."""
    by_record = [(record, outcomes[record.id]) for record in records]
    read = [(record, outcome) for record, outcome in by_record if isinstance(outcome, _Scored)]
    failed = {record.id: outcome for record, outcome in by_record if isinstance(outcome, Failure)}
    return Scores(
        ids=tuple(record.id for record, _ in read),
        labels=np.array([record.label for record, _ in read], dtype=np.int64),
        logits=np.stack([outcome.logits for _, outcome in read]) if read else np.empty((0, *shape), np.float32),
        failed={name: failure.reason for name, failure in failed.items()},
        transient=tuple(name for name, failure in failed.items() if failure.retry),
        decoders=dict(Counter(outcome.decoder for _, outcome in read)),
        damaged=tuple(record.id for record, outcome in read if outcome.is_damaged),
    )


def average_views(logits: NDArray[np.float32], average: str) -> NDArray[np.float32]:
    """One row of scores a clip, [N, C], of its views' logits [N, V, C].

    "probabilities": the logarithm of the mean of the views' softmax, so that a softmax of the row gives that mean;
    "logits": the mean of the logits, as the official code of TVTS.
    """
    assert average in ("probabilities", "logits"), average
    views = torch.from_numpy(logits)
    mean = views.mean(dim=1) if average == "logits" else views.log_softmax(2).logsumexp(1) - math.log(views.shape[1])
    scores: NDArray[np.float32] = mean.numpy()
    return scores
