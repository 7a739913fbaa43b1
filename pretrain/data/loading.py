"""Batches for training, made in parallel: equal for equal (seed, step), whatever the number of workers or ranks.

A worker makes a whole batch, and a batch is known from its step alone. So resuming at step s is asking for step s, and
neither the number of workers nor what was read before can change a byte.

A file that cannot be read while training (it could when the source was checked) is replaced by another sample, drawn
from the same key, is counted and is named in the log; with `strict` it ends the run, as does a share of failures
above `max_failures`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.data.batches import NarratedBatch
from pretrain.data.mixing import Draw, Mixture, Share, described, in_order
from pretrain.data.segments import EVENTS
from pretrain.data.sources import Sample, Source
from tvts_bench.errors import UserError
from tvts_bench.training.dataloader import load_in_order

Tokenize = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Texts to ids and mask, int64 [N, L] each. Must be picklable where there are workers."""

UNREADABLE = "unreadable while training"
COUNTED = (*EVENTS, UNREADABLE)
"""All that `NarratedLoader.counts` may hold."""

_ATTEMPTS = 10  # replacements for one sample before the source is given up
_LEAST_FAILURES = 5  # before a share of failures means anything

logger = logging.getLogger(__name__)


class TooManyFailuresError(UserError):
    """More samples than allowed could not be read while training."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made."""

    batch_size: int = 768  # over all processes (the paper: 24 x 32); a source may have its own
    seed: int = 0
    max_failures: float = 0.05  # share (0..1) of samples unreadable while training above which the run stops
    strict: bool = False  # one unreadable sample ends the run

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size must be positive, got {self.batch_size}")
        if not 0 <= self.max_failures <= 1:
            raise UserError(f"max_failures is a share from 0 to 1, got {self.max_failures}")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A batch and what happened while it was made; crosses from a worker to the training process."""

    batch: NarratedBatch
    events: Counter[str] = field(default_factory=Counter)
    failures: tuple[str, ...] = ()  # one sentence a file that was replaced

    def pin_memory(self) -> Made:
        """With the batch in page-locked memory."""
        return Made(batch=self.batch.pin_memory(), events=self.events, failures=self.failures)


@dataclass(frozen=True, kw_only=True)
class BatchMaker:
    """From the draws of one step to its batch."""

    sources: tuple[Source, ...]
    tokenize: Tokenize
    segments: int  # K
    mixture: Mixture | None = None  # says what replaces an unreadable sample; None: an unreadable sample is an error
    training: bool = True

    def make(self, draws: Sequence[Draw]) -> Made:
        """The batch of `draws`, all from one source.

        Raises:
            VideoDecodeError, TranscriptError: unreadable, and no replacement is wanted.
            TooManyFailuresError: nor are the replacements readable.
        """
        failures: list[str] = []
        samples = [self._sample(draw, failures) for draw in draws]
        events = sum((sample.events for sample in samples), Counter[str]())
        seeds = torch.tensor([draw.seed for draw in draws], dtype=torch.int64)
        batch = collate(samples, self.tokenize, self.segments, seeds)
        return Made(batch=batch, events=events, failures=tuple(failures))

    def _sample(self, draw: Draw, failures: list[str]) -> Sample:
        source, number = self.sources[draw.source], draw.index
        for attempt in range(_ATTEMPTS):
            if attempt:
                assert self.mixture is not None
                number = self.mixture.replacement(draw, attempt)
            try:
                return source.sample(number, draw.generator(attempt), training=self.training)
            except UserError as error:
                if self.mixture is None:
                    raise
                failures.append(str(error))
        raise TooManyFailuresError(f"{_ATTEMPTS} samples of {source.name} in a row cannot be read: {failures[-1]}")


def collate(samples: Sequence[Sample], tokenize: Tokenize, segments: int, seeds: Tensor | None = None) -> NarratedBatch:
    """One batch. Samples with fewer texts than `segments` get rows of padding, with a mask of zeros, behind them."""
    counts = torch.tensor([len(sample.texts) for sample in samples])
    ids, mask = tokenize([text for sample in samples for text in sample.texts])
    is_real = torch.arange(segments) < counts[:, None]  # [B, K]
    shape = (len(samples), segments, ids.shape[1])
    input_ids, attention_mask = ids.new_zeros(shape), mask.new_zeros(shape)
    input_ids[is_real], attention_mask[is_real] = ids, mask
    return NarratedBatch(
        clips=torch.stack([sample.clip for sample in samples]),
        input_ids=input_ids,
        attention_mask=attention_mask,
        segments=counts,
        ids=tuple(sample.id for sample in samples),
        seeds=seeds,
    )


class _Steps(Dataset[Made]):
    """Steps as a data set: item `step` is that step's batch."""

    def __init__(self, maker: BatchMaker, batches: Callable[[int], Sequence[Draw]]) -> None:
        self._maker, self._batches = maker, batches

    def __getitem__(self, step: int) -> Made:
        return self._maker.make(self._batches(step))


@dataclass(frozen=True)
class _RankDraws:
    mixture: Mixture
    rank: int
    world_size: int

    def __call__(self, step: int) -> Sequence[Draw]:
        return self.mixture.draws(step, self.rank, self.world_size)


class NarratedLoader:
    """The batches of one process, by step.

    `counts` says how often what happened (the names in `COUNTED`), `failures` names the
    files that were replaced. Both cover what this object has yielded.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: LoaderConfig,
        tokenize: Tokenize,
        *,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Checks that the sources can be mixed.

        Raises:
            MixtureError: sources, weights, batch sizes and number of processes do not go together.
        """
        shares = [
            Share(
                name=source.name,
                size=len(source),
                batch_size=source.config.batch_size or config.batch_size,
                weight=source.config.weight,
            )
            for source in sources
        ]
        self.mixture = Mixture(shares=tuple(shares), seed=config.seed)
        for step in range(len(self.mixture.cycle)):
            self.mixture.draws(step, rank, world_size)  # refuses a batch that cannot be divided now, not in an hour
        for line in described(self.mixture) if rank == 0 else ():
            logger.info("%s", line)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._config, self._workers = config, workers
        self._maker = BatchMaker(
            sources=tuple(sources), tokenize=tokenize, segments=_segments(sources), mixture=self.mixture
        )
        self.items: Dataset[Made] = _Steps(self._maker, _RankDraws(self.mixture, rank, world_size))  # by step
        self._samples = 0

    def batches(self, start: int, stop: int) -> Iterator[NarratedBatch]:
        """The batches of steps `start` to `stop - 1`.

        Raises:
            TooManyFailuresError: more than `max_failures` of the samples so far could not be read, or one if `strict`.
        """
        for made in load_in_order(self.items, range(start, stop), self._workers):
            self._account(made)
            yield made.batch

    def _account(self, made: Made) -> None:
        self._samples += len(made.batch)
        self.counts.update(made.events)
        for failure in made.failures:
            self.counts[UNREADABLE] += 1
            self.failures.append(failure)
            if self._config.strict:
                raise TooManyFailuresError(f"{failure} (strict: one unreadable file ends the run)")
            logger.warning("replaced by another sample: %s", failure)
        if len(self.failures) > max(self._config.max_failures * self._samples, _LEAST_FAILURES):
            raise TooManyFailuresError(
                f"{len(self.failures)} of {self._samples} samples could not be read, more than "
                f"max_failures={self._config.max_failures:g}; the last: {self.failures[-1]}"
            )


def validation_batches(
    source: Source, tokenize: Tokenize, *, batch_size: int, workers: int = 0, seed: int = 0
) -> Iterator[NarratedBatch]:
    """Every sample of a source once, in its order, with centre frames and crops; the same ones at every call.

    Raises:
        VideoDecodeError, TranscriptError: a file that cannot be read: a held-out set must not change silently.
    """
    draws = in_order(0, len(source), batch_size, seed)
    maker = BatchMaker(sources=(source,), tokenize=tokenize, segments=_segments([source]), training=False)
    for made in load_in_order(_Steps(maker, draws.__getitem__), range(len(draws)), workers):
        yield made.batch


def _segments(sources: Sequence[Source]) -> int:
    counts = {source.segments.segments for source in sources}
    assert len(counts) == 1, f"sources with different numbers of segments: {counts}"
    return counts.pop()
