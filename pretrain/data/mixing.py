"""Which samples a step is made of: a pure function of (seed, step), so that a run is resumed by one integer.

Each batch comes from one source, because a batch has one number of frames. Sources take turns in a fixed cycle that
has their weights (to a percent), spread evenly:

    weights 2 : 1        step    0  1  2  3  4  5  6 ...
                         source  A  B  A  A  B  A  A ...

Within a source every epoch is a fresh permutation, cut into global batches; the last incomplete one is dropped. Rank r
of W takes the r-th of W equal parts of the global batch, so the union over ranks does not depend on W.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

_CYCLE = 100  # steps in which weights are met
_ORDER, _SAMPLE = 1, 2  # what a generator is for: draws for one purpose do not depend on those for another


@dataclass(frozen=True, kw_only=True)
class Share:
    """One source's part in the mixture."""

    name: str
    size: int  # samples per epoch
    batch_size: int  # samples of one step, over all ranks
    weight: float = 1.0  # steps taken from it, relative to the other sources


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of a step, before anything is read. `key` seeds every random choice in it."""

    source: int
    index: int  # in the source
    key: tuple[int, ...]

    def generator(self, attempt: int = 0) -> np.random.Generator:
        """The generator of the sample's choices; each attempt at replacing an unreadable file has its own."""
        return np.random.default_rng([*self.key, attempt])

    @property
    def seed(self) -> int:
        """One number for choices made elsewhere (masks), non-negative and below 2**63."""
        return int(np.random.SeedSequence([*self.key, 1 << 31]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The sequence of global batches.

    Raises:
        UserError: a source smaller than one batch.
    """

    shares: tuple[Share, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        for share in self.shares:
            if share.size < share.batch_size:
                raise UserError(
                    f"{share.name} has {share.size} samples, fewer than one batch of {share.batch_size}; "
                    f"make the batch size at most {share.size}"
                )

    @functools.cached_property
    def cycle(self) -> tuple[int, ...]:
        """Source of each step of a cycle."""
        total = math.fsum(share.weight for share in self.shares)
        counts = [max(round(_CYCLE * share.weight / total), 1) for share in self.shares]
        divisor = math.gcd(*counts)
        counts = [count // divisor for count in counts]
        turns = [((turn + 0.5) / count, source) for source, count in enumerate(counts) for turn in range(count)]
        return tuple(source for _, source in sorted(turns))

    def source_of(self, step: int) -> int:
        """The source that `step` (from 0) is taken from."""
        return self.cycle[step % len(self.cycle)]

    def turn_of(self, step: int) -> int:
        """How many steps before `step` were taken from the same source."""
        source, (cycles, rest) = self.source_of(step), divmod(step, len(self.cycle))
        return cycles * self.cycle.count(source) + self.cycle[:rest].count(source)

    def batches_per_epoch(self, source: int) -> int:
        """Whole batches in one epoch of a source."""
        share = self.shares[source]
        return share.size // share.batch_size

    def draws(self, step: int, rank: int = 0, world_size: int = 1) -> tuple[Draw, ...]:
        """The samples of a step that one process makes.

        Args:
            step: from 0.
            rank: of the process.
            world_size: how many processes there are.

        Raises:
            UserError: the global batch cannot be divided among the ranks.
        """
        source = self.source_of(step)
        share = self.shares[source]
        if share.batch_size % world_size:
            raise UserError(
                f"the global batch of {share.batch_size} of {share.name} cannot be divided among {world_size} "
                f"processes; make it a multiple of {world_size}"
            )
        epoch, batch = divmod(self.turn_of(step), self.batches_per_epoch(source))
        part = share.batch_size // world_size
        first = batch * share.batch_size + rank * part
        order = permutation(self.seed, source, epoch, share.size)
        return tuple(
            Draw(source, int(order[position]), (self.seed, _SAMPLE, source, epoch, position))
            for position in range(first, first + part)
        )

    def replacement(self, draw: Draw, attempt: int) -> int:
        """What is read in place of a sample whose file cannot be read; `attempt` counts from 1."""
        share = self.shares[draw.source]
        return int(np.random.default_rng([*draw.key, attempt, _ORDER]).integers(share.size))


@functools.lru_cache(maxsize=8)
def permutation(seed: int, source: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order in which a source is gone through in one epoch.

    Args:
        seed: of the run.
        source: its number.
        epoch: from 0.
        size: samples of the source.

    Returns:
        int64 [size].
    """
    order = np.random.default_rng([seed, _ORDER, source, epoch]).permutation(size)
    order.setflags(write=False)
    return order


def in_order(source: int, size: int, batch_size: int, seed: int = 0) -> list[tuple[Draw, ...]]:
    """Batches that go through a source once, in its order, the last one smaller: for validation.

    Args:
        source: its number.
        size: samples of the source.
        batch_size: samples of a batch.
        seed: of the choices in each sample.
    """
    draws = [Draw(source, index, (seed, _SAMPLE, source, index)) for index in range(size)]
    return [tuple(draws[first : first + batch_size]) for first in range(0, size, batch_size)]


def described(mixture: Mixture) -> Iterator[str]:
    """One sentence per source: its size, batches per epoch and what each epoch leaves out."""
    for source, share in enumerate(mixture.shares):
        batches, dropped = divmod(share.size, share.batch_size)
        steps = f"{mixture.cycle.count(source)} of every {len(mixture.cycle)} steps"
        yield (
            f"{share.name}: {share.size:,} samples, {batches:,} batches of {share.batch_size} an epoch "
            f"(the {dropped} left over wait for another epoch's order), {steps}"
        )
