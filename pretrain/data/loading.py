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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.data.clip_sampling import EVENTS
from pretrain.data.mixing import Draw, Mixture, Share, described, in_order
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


@dataclass(frozen=True, kw_only=True, eq=False)
class NarratedBatch:
    """B clips with the words spoken during them, in true temporal order.

    A narrated clip has K transcript segments. A caption has one: row 0 holds its tokens, and rows 1..K-1 are padding
    whose mask is all zero. `segments` tells them apart, and only samples with `segments == K` can be sorted.

    Attributes:
        clips: uint8 `[B, 3, T, H, W]`, RGB in 0..255; normalised on the device.
        input_ids: int64 `[B, K, L]`, tokens of the segments.
        attention_mask: int64 `[B, K, L]`, 1 on tokens and 0 on padding.
        segments: int64 `[B]`, the number of real segments of each sample, 1..K.
        ids: Name of each sample, for logs.
        seeds: int64 `[B]`, a number of each sample for choices made later (masks): the same for the same seed and step
            whatever the number of processes. None where a batch was not drawn.
    """

    clips: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    segments: Tensor
    ids: tuple[str, ...]
    seeds: Tensor | None = None

    def __post_init__(self) -> None:
        size, shape = len(self.ids), tuple(self.clips.shape)
        assert len(shape) == 5, shape
        assert shape[:2] == (size, 3), shape
        assert self.clips.dtype == torch.uint8, self.clips.dtype
        assert self.input_ids.ndim == 3, tuple(self.input_ids.shape)
        assert self.input_ids.shape == self.attention_mask.shape
        assert self.input_ids.shape[0] == size
        assert self.segments.shape == (size,)

    def __len__(self) -> int:
        return len(self.ids)

    def _map(self, function: Callable[[Tensor], Tensor]) -> NarratedBatch:
        tensors: dict[str, Any] = {
            name: function(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> NarratedBatch:
        """The same batch with every tensor on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> NarratedBatch:
        """The same batch in page-locked memory; the DataLoader calls this when asked to pin."""
        return self._map(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made."""

    batch_size: int = 768  # over all processes (the paper: 24 x 32); a source may have its own
    seed: int = 0
    max_failures: float = 0.05  # share (0..1) of samples unreadable while training above which the run stops
    strict: bool = False  # one unreadable sample ends the run


@dataclass(frozen=True, kw_only=True)
class Made:
    """A batch and what happened while it was made; crosses from a worker to the training process."""

    batch: NarratedBatch
    events: Counter[str] = field(default_factory=Counter)
    failures: tuple[str, ...] = ()  # one sentence a file that was replaced

    def pin_memory(self) -> Made:
        """With the batch in page-locked memory."""
        return replace(self, batch=self.batch.pin_memory())


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
            UserError: nor are the replacements readable.
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
        raise UserError(f"{_ATTEMPTS} samples of {source.name} in a row cannot be read: {failures[-1]}")


def collate(samples: Sequence[Sample], tokenize: Tokenize, segments: int, seeds: Tensor | None = None) -> NarratedBatch:
    """One batch. Samples with fewer texts than `segments` get rows of padding, with a mask of zeros, behind them.

    Args:
        samples: B of them.
        tokenize: for their texts.
        segments: K.
        seeds: int64 [B], one for each sample.
    """
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

    def __init__(self, maker: BatchMaker, draws: Callable[[int], Sequence[Draw]]) -> None:
        self._maker, self._draws = maker, draws

    def __getitem__(self, step: int) -> Made:
        return self._maker.make(self._draws(step))


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
            UserError: sources, weights, batch sizes and number of processes do not go together.
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
        maker = BatchMaker(sources=tuple(sources), tokenize=tokenize, segments=_segments(sources), mixture=self.mixture)
        draws = partial(self.mixture.draws, rank=rank, world_size=world_size)
        self.items: Dataset[Made] = _Steps(maker, draws)  # by step
        self._samples = 0

    def batches(self, start: int, stop: int) -> Iterator[NarratedBatch]:
        """The batches of steps `start` to `stop - 1`.

        Raises:
            UserError: more than `max_failures` of the samples so far could not be read, or one if `strict`.
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
                raise UserError(f"{failure} (strict: one unreadable file ends the run)")
            logger.warning("replaced by another sample: %s", failure)
        if len(self.failures) > max(self._config.max_failures * self._samples, _LEAST_FAILURES):
            raise UserError(
                f"{len(self.failures)} of {self._samples} samples could not be read, more than "
                f"max_failures={self._config.max_failures:g}; the last: {self.failures[-1]}"
            )


def validation_batches(
    source: Source, tokenize: Tokenize, *, batch_size: int, workers: int = 0, seed: int = 0
) -> Iterator[NarratedBatch]:
    """Every sample of a source once, in its order, with centre frames and crops; the same ones at every call.

    Args:
        source: held out.
        tokenize: for its texts.
        batch_size: samples of a batch; the last one may have fewer.
        workers: loading processes; 0 loads in this one.
        seed: of the cuts and masks.

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
