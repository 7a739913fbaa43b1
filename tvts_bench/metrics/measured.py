"""A measured number, and which part of a data set it speaks of."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from tvts_bench.metrics.significance import Interval
from tvts_bench.snapshot import Snapshot

DAMAGED_SHOWN = 5  # names in a line
FORWARD: Final = "forward"  # the condition of clips as they are


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured number, in percent, with its 95 % interval over queries or clips."""

    name: str  # "R@1"
    condition: str = FORWARD  # what was done to the clips: a temporal control's name, or nothing
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None  # what a random ranking would get
    per_seed: tuple[float, ...] = ()  # one value a sampling seed, when there are several

    @classmethod
    def over_seeds(
        cls, name: str, condition: str, values: tuple[float, ...], interval: Interval, chance: float | None
    ) -> Self:
        """The mean over seeds.

        Args:
            name: of the metric.
            condition: what was done to the clips.
            values: of each seed, percent.
            interval: over queries or clips, in 0..1.
            chance: what a random ranking would get, percent.
        """
        return cls(
            name=name,
            condition=condition,
            value=float(np.mean(values)),
            low=100 * interval.low,
            high=100 * interval.high,
            chance=chance,
            per_seed=values if len(values) > 1 else (),
        )

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds (of a sample: divided by their number less one); None for a single one."""
        return statistics.stdev(self.per_seed) if len(self.per_seed) > 1 else None


@dataclass(frozen=True, kw_only=True)
class SplitCoverage:
    """Which part of a split a number speaks of."""

    split: str
    fingerprint: str  # ids, labels and split name
    listed: int  # videos in the list
    used: int  # videos that were read and measured
    failed: Mapping[str, str]  # id -> reason; neither replaced nor counted in any metric
    official: tuple[int, ...] = ()  # known official sizes
    files: Snapshot | None = None  # of all listed files, before they were read; None: not known
    transient: tuple[str, ...] = ()  # ids in `failed` that may be readable another time (time limit, crash, memory)
    damaged: tuple[str, ...] = ()  # ids that were read and measured although the decoder had to make up a part of them

    @property
    def complete(self) -> bool:
        """Every listed video was measured, and the list is an official one (where there is one)."""
        return not self.failed and self.used == self.listed and (not self.official or self.listed in self.official)


def damage_line(damaged: Sequence[str], listed: int, what: str) -> str:
    """How many videos are damaged, and which, as far as a line holds them.

    Args:
        damaged: their ids.
        listed: how many videos there are.
        what: the videos are of: a split.
    """
    names = ", ".join(damaged[:DAMAGED_SHOWN])
    more = f" and {len(damaged) - DAMAGED_SHOWN:,} more" if len(damaged) > DAMAGED_SHOWN else ""
    return (
        f"{len(damaged):,} of {listed:,} videos of {what} are damaged inside, and the decoder made up a part of"
        f" their frames: {names}{more}"
    )


def failure_line(clip: str, reason: str) -> str:
    """Why a clip could not be measured, naming it once: most reasons name its file already."""
    return reason if clip in reason else f"{clip}: {reason}"
