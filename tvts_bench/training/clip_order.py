"""Which clips a step is made of: a pure function of (seed, step), so that a run is taken up again by one integer.

Every epoch is a fresh permutation, cut into batches; what is left over at its end waits for another epoch's order. Rank
r of W takes the r-th of W equal parts of a batch, so the union over ranks does not depend on W.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError

_ORDER, _CLIP = 1, 2  # what a generator is for: draws for one purpose do not depend on those for another


class BatchError(UserError):
    """A batch that the training set or the number of processes does not allow."""


@dataclass(frozen=True, slots=True)
class ClipDraw:
    """One clip of a step, before anything is read."""

    index: int  # of the record
    seed: int  # of every random choice in this clip in this epoch, 0 to 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ClipOrder:
    """The sequence of batches over all processes."""

    size: int  # records
    batch_size: int  # clips a step, over all processes
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise BatchError(f"the batch size must be positive, got {self.batch_size}")
        if self.size < self.batch_size:
            raise BatchError(
                f"the training set has {self.size} clips, fewer than one batch of {self.batch_size}; "
                f"choose a --total-batch of at most {self.size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one epoch."""
        return self.size // self.batch_size

    def draws(self, step: int, rank: int = 0, world_size: int = 1) -> tuple[ClipDraw, ...]:
        """The clips of `step` (from 0) that `rank` of `world_size` makes.

        Raises:
            BatchError: the batch cannot be divided among the processes.
        """
        if self.batch_size % world_size:
            raise BatchError(
                f"a batch of {self.batch_size} clips cannot be divided among {world_size} processes; "
                f"choose a --total-batch that is a multiple of {world_size}"
            )
        epoch, batch = divmod(step, self.steps_per_epoch)
        part = self.batch_size // world_size
        first = batch * self.batch_size + rank * part
        order = _permutation(self.seed, epoch, self.size)
        return tuple(ClipDraw(int(index), self._seed(epoch, int(index))) for index in order[first : first + part])

    def _seed(self, epoch: int, index: int) -> int:
        """Of a clip in an epoch: batches of another size vary it in the same way."""
        numbers = np.random.SeedSequence((self.seed, _CLIP, epoch, index)).generate_state(1, np.uint64)
        return int(numbers[0] >> np.uint64(1))


@functools.lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order in which records are gone through in `epoch`. int64 [size]."""
    order = np.random.Generator(np.random.PCG64([seed, _ORDER, epoch])).permutation(size)
    order.setflags(write=False)
    return order
