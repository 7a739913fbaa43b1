"""How sure a mean over queries is, and the difference of two: percentile bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.errors import UserError

DRAWS_AT_ONCE = 4_000_000  # resampled values held in memory: 32 MB of indices


class BootstrapError(UserError):
    """Settings of an interval that make no sense."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of the values it was made from."""

    low: float
    high: float
    level: float = 0.95


def bootstrap_interval(values: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean of per-query outcomes [Q]. NaN outcomes are left out first.

    Queries are resampled with replacement while the gallery stays as it is. Queries that share neighbours depend on
    each other, so this is the uncertainty of which queries were asked, for a fixed gallery and fixed weights; it says
    nothing about other training seeds. The same values and seed give the same interval. Two limits of the percentile
    bootstrap: outcomes that are all equal give an interval of zero width, and a handful of queries a too narrow one.

    Raises:
        BootstrapError: `resamples` or `level` out of range.
    """
    if resamples < 1:
        raise BootstrapError(f"resamples must be at least 1, got {resamples}")
    if not 0 < level < 1:
        raise BootstrapError(f"the level of an interval must lie between 0 and 1, got {level}")
    outcomes = np.asarray(values, dtype=np.float64)
    assert outcomes.ndim == 1, f"outcomes must be one-dimensional, got {outcomes.shape}"
    outcomes = outcomes[~np.isnan(outcomes)]
    if not len(outcomes):
        return Interval(float("nan"), float("nan"), level)
    means = resampled_means(outcomes, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


@dataclass(frozen=True)
class Difference:
    """By how much one mean lies above another over the same queries, in the unit of the values."""

    value: float
    interval: Interval


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """Mean of `first` less mean of `second`, outcomes [Q] of the same queries in the same order, with its interval.

    Each resample draws the same queries for both (the paired bootstrap): what makes a query hard for both cancels out,
    so this is sharper than a look at whether two intervals overlap. Queries that are NaN in either are left out first.
    All else is as in `bootstrap_interval`.

    Raises:
        BootstrapError: `resamples` or `level` out of range.
    """
    assert np.shape(first) == np.shape(second), f"outcomes of {np.shape(first)} and {np.shape(second)} are no pairs"
    ahead = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)  # [Q]
    interval = bootstrap_interval(ahead, seed=seed, resamples=resamples, level=level)
    measured = ahead[~np.isnan(ahead)]
    return Difference(float(measured.mean()) if len(measured) else float("nan"), interval)


def resampled_means(outcomes: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Means of `resamples` samples of the outcomes' own size, drawn with replacement. Shape [resamples]."""
    count = len(outcomes)
    low, high = outcomes.min(), outcomes.max()
    is_high = outcomes == high
    if np.all(is_high | (outcomes == low)):
        # Hits and misses: how many hits a resample holds is binomial, so draw that number and not the queries.
        return np.asarray(low + (high - low) * rng.binomial(count, is_high.mean(), size=resamples) / count)
    means = np.empty(resamples)
    step = max(1, DRAWS_AT_ONCE // count)
    for start in range(0, resamples, step):
        size = (min(step, resamples - start), count)
        means[start : start + step] = outcomes[rng.integers(count, size=size)].mean(axis=1)
    return means
