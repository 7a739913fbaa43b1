"""The logits of a classifier for every clip of a list, over all its views, while and after training."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
            UserError: on every rank, if one of them cannot go on.
        """
        training = model.training
        model.eval()
        try:
            mine = run_on_all_ranks(self.runtime, lambda: self._score(model, precision, num_classes))
        finally:
            model.train(training)
        return _merged(
            self.records, all_gather_objects(mine, self.runtime.world_size), (self.clip.num_views, num_classes)
        )

    def contents(self) -> dict[str, str]:
        """SHA-256 (hex) of every file by id, or `UNREADABLE`; each rank reads its share. All ranks must call this."""
        with ThreadPoolExecutor(max(1, self.runtime.workers)) as pool:  # hashing lets other threads run
            read = pool.map(content_sha256, (record.path for record in self._mine))
            mine = dict(zip((record.id for record in self._mine), read, strict=True))
        return {
            name: each for share in all_gather_objects(mine, self.runtime.world_size) for name, each in share.items()
        }

    def _score(self, model: nn.Module, precision: Precision, num_classes: int) -> "_Share":
        """This rank's share: whole clips are collected until a batch of views is full."""
        share = _Share()
        staged: list[tuple[VideoRecord, Tensor]] = []
        enough = max(1, self.runtime.batch_size // self.clip.num_views)  # clips in a batch
        with self.runtime.progress(len(self._mine), "clips", "testing") as advance:
            for record, outcome in zip(self._mine, self._outcomes(), strict=True):
                if isinstance(outcome, Failure):
                    share.failed[record.id] = outcome.reason
                    share.transient |= {record.id} if outcome.retry else set()
                else:
                    share.decoders[outcome.decoder] += 1
                    if outcome.damaged:
                        share.damaged.add(record.id)
                    staged.append((record, outcome.pixels))
                if len(staged) == enough:
                    self._forward(model, precision, staged, share)
                advance(1)
            self._forward(model, precision, staged, share)
        return share

    def _outcomes(self) -> Iterator[Decoded | Failure]:
        """Every clip of this rank's share, from memory where it is there."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Decoded | Failure] = []
        with closing(load_clips(self._mine, self._decoding)) as clips:
            for outcome in clips:
                # The loader uses its memory again once the next clip is asked for.
                own = outcome if isinstance(outcome, Failure) else outcome._replace(pixels=outcome.pixels.clone())
                if self._fits:
                    kept.append(own)
                yield own
        # What failed for the moment is read again by the next measurement.
        if self._fits and not any(isinstance(each, Failure) and each.retry for each in kept):
            self._kept = kept

    @torch.inference_mode()
    def _forward(
        self, model: nn.Module, precision: Precision, staged: list[tuple[VideoRecord, Tensor]], share: "_Share"
    ) -> None:
        """Score the staged clips, and empty the stage."""
        if not staged:
            return
        views = torch.cat([pixels for _, pixels in staged])  # uint8 [clips * V, 3, T, H, W]
        device = self.runtime.device
        rows = []
        for part in views.split(self.runtime.batch_size):
            pixels = normalise(part.to(device, non_blocking=True), self.clip.mean, self.clip.std)
            with autocast(device, precision):
                rows.append(model(pixels).float().cpu())
        logits = torch.cat(rows).unflatten(0, (len(staged), self.clip.num_views)).numpy()  # [clips, V, C]
        share.logits |= {record.id: row for (record, _), row in zip(staged, logits, strict=True)}
        staged.clear()


class _Share:
    """What one rank scored."""

    def __init__(self) -> None:
        self.logits: dict[str, NDArray[np.float32]] = {}
        self.failed: dict[str, str] = {}
        self.transient: set[str] = set()
        self.decoders: Counter[str] = Counter()
        self.damaged: set[str] = set()


def _merged(records: Sequence[VideoRecord], shares: Sequence[_Share], shape: tuple[int, int]) -> Scores:
    """In the order of the records, whoever scored them."""
    logits = {name: row for share in shares for name, row in share.logits.items()}
    failed = {name: reason for share in shares for name, reason in share.failed.items()}
    transient = {name for share in shares for name in share.transient}
    damaged = {name for share in shares for name in share.damaged}
    read = [record for record in records if record.id in logits]
    return Scores(
        ids=tuple(record.id for record in read),
        labels=np.array([record.label for record in read], dtype=np.int64),
        logits=np.stack([logits[record.id] for record in read]) if read else np.empty((0, *shape), np.float32),
        failed={record.id: failed[record.id] for record in records if record.id in failed},
        transient=tuple(record.id for record in records if record.id in transient),
        decoders=dict(sum((share.decoders for share in shares), Counter())),
        damaged=tuple(record.id for record in read if record.id in damaged),
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
