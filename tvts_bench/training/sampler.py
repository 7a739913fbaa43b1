"""Which clips a step is made of: a pure function of (seed, step), so that a training is resumed by one integer.

Every epoch is a fresh permutation, cut into batches; what is left over at its end waits for another epoch's order. Rank
r of W takes the r-th of W parts of a batch, so the union over ranks does not depend on W. Clips 0 and 1 of a batch are
mixed with each other, and so 2 and 3: such a pair is never divided, so parts may differ by a pair.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

_ORDER, _CLIP = 1, 2  # what a generator is for: draws for one purpose do not depend on those for another


@dataclass(frozen=True, slots=True)
class ClipDraw:
    """One clip of a step, before anything is read."""

    index: int  # of the record
    seed: int  # of every random choice in this clip in this epoch, 0 to 2**63 - 1
    position: int  # in the step's batch over all processes


@dataclass(frozen=True, kw_only=True)
class ClipSampler:
    """The sequence of batches over all processes."""

    size: int  # records
    batch_size: int  # clips a step, over all processes
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if self.batch_size < 1:
            raise UserError(f"the batch size must be positive, got {self.batch_size}")
        if self.size < self.batch_size:
            raise UserError(
                f"the training set has {self.size} clips, fewer than one batch of {self.batch_size}; "
                f"choose a --total-batch of at most {self.size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one epoch."""
        return self.size // self.batch_size

    def draws(self, step: int, rank: int = 0, world_size: int = 1) -> tuple[ClipDraw, ...]:
        """The clips of a step that one rank makes.

        Args:
            step: from 0.
            rank: this process.
            world_size: processes that share the batch.

        Returns:
            The draws, by their position in the batch.

        Raises:
            UserError: the batch cannot be divided among the processes.
        """
        if self.batch_size % world_size:
            raise UserError(
                f"a batch of {self.batch_size} clips cannot be divided among {world_size} processes; "
                f"choose a --total-batch that is a multiple of {world_size}"
            )
        epoch, batch = divmod(step, self.steps_per_epoch)
        order = _permutation(self.seed, epoch, self.size)[batch * self.batch_size :]
        pairs = math.ceil(self.batch_size / 2)
        first, last = (
            min(2 * math.ceil(pairs * each / world_size), self.batch_size)
            for each in (rank, rank + 1)  # the first rank, whose batch norms are kept, has clips if any has
        )
        return tuple(
            ClipDraw(int(order[position]), self._seed(epoch, int(order[position])), position)
            for position in range(first, last)
        )

    def is_first(self, step: int, index: int) -> bool:
        """Whether record `index`, drawn in `step`, was in no epoch before: then nobody has read its file yet."""
        return all(index in _left_over(self, epoch) for epoch in range(step // self.steps_per_epoch))

    def _seed(self, epoch: int, index: int) -> int:
        """Of a clip in an epoch: batches of another size vary it in the same way."""
        return seed_of(self.seed, _CLIP, epoch, index)


def seed_of(*key: int) -> int:
    """0 to 2**63 - 1, another one wherever the key differs."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@functools.lru_cache(maxsize=64)
def _left_over(order: ClipSampler, epoch: int) -> frozenset[int]:
    """The records that are in no batch of `epoch`."""
    used = order.steps_per_epoch * order.batch_size
    return frozenset(_permutation(order.seed, epoch, order.size)[used:].tolist())


@functools.lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order in which records are gone through in `epoch`. int64 [size]."""
    order = np.random.Generator(np.random.PCG64([seed, _ORDER, epoch])).permutation(size)
    order.setflags(write=False)
    return order
