"""How sure a mean is and whether two differ: percentile bootstrap intervals, and paired two-sided tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.errors import UserError

DRAWS_AT_ONCE = 4_000_000  # resampled values held in memory: 32 MB of indices


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of the values it was made from."""

    low: float
    high: float
    level: float = 0.95


def bootstrap_interval(values: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean of per-query outcomes [Q]. NaN outcomes are left out first.

    Queries are resampled with replacement while the gallery stays as it is. Queries that share neighbours depend on
    each other, so this is the uncertainty of which queries were drawn, for a fixed gallery and fixed weights; it says
    nothing about other training seeds. The same values and seed give the same interval. Two limits of the percentile
    bootstrap: outcomes that are all equal give an interval of zero width, and a handful of queries a too narrow one.

    Args:
        values: outcome of each query, [Q].
        seed: of the resampling.
        resamples: how many.
        level: of the interval, 0..1.

    Raises:
        UserError: `resamples` or `level` out of range.
    """
    if resamples < 1:
        raise UserError(f"resamples must be at least 1, got {resamples}")
    if not 0 < level < 1:
        raise UserError(f"the level of an interval must lie between 0 and 1, got {level}")
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

    Args:
        first: outcome of each query, [Q].
        second: outcome of the same queries, [Q].
        seed: of the resampling.
        resamples: how many.
        level: of the interval, 0..1.

    Raises:
        UserError: `resamples` or `level` out of range.
    """
    assert np.shape(first) == np.shape(second), f"outcomes of {np.shape(first)} and {np.shape(second)} are no pairs"
    ahead = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)  # [Q]
    interval = bootstrap_interval(ahead, seed=seed, resamples=resamples, level=level)
    measured = ahead[~np.isnan(ahead)]
    return Difference(float(measured.mean()) if len(measured) else float("nan"), interval)


def resampled_means(outcomes: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Means of samples of the outcomes' own size, drawn with replacement, [resamples].

    Args:
        outcomes: to draw from, [Q].
        rng: draws them.
        resamples: how many.
    """
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


MIN_PAIRS_OF_SEEDS = 2
NO_SPREAD = 1e-6  # percent; far below what one clip of any data set is
FEW_CLIPS = 100  # below, a bootstrap's p-value is not to be trusted


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """By how much the first lies above the second, and how likely so large a difference is where there is none."""

    test: str  # its name
    pairs: int  # queries, clips or seeds
    difference: float  # in the unit of the values
    low: float | None  # 95 % interval of the difference
    high: float | None
    p: float  # two-sided


def compare_outcomes(first: ArrayLike, second: ArrayLike, *, seed: int = 0, resamples: int = 2000) -> PairedTest:
    """Test the outcomes [Q] in 0..1 of the same queries or clips, in the same order.

    Hits and misses (top-1, Recall@K) are compared by McNemar's exact test; anything between 0 and 1 (means over seeds)
    by the paired bootstrap, whose p-value is never below 2 / (`resamples` + 1); of few clips, where a bootstrap finds
    too much, by exchanging the two at random. The interval is always the bootstrap's. Pairs with a NaN are left out.
    The pairs are clips of fixed backbones: it says nothing about other training seeds.

    Args:
        first: outcome of each query or clip, [Q].
        second: outcome of the same queries or clips, [Q].
        seed: of the resampling.
        resamples: how many.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    assert ours.shape == theirs.shape, f"outcomes of {ours.shape} and {theirs.shape} are no pairs"
    measured = ~np.isnan(ours - theirs)
    ours, theirs = ours[measured], theirs[measured]
    difference = paired_difference(ours, theirs, seed=seed, resamples=resamples)
    name, p = _test_of(ours, theirs, seed, resamples)
    return PairedTest(
        test=name,
        pairs=len(ours),
        difference=difference.value,
        low=difference.interval.low,
        high=difference.interval.high,
        p=p,
    )


def _test_of(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int, resamples: int) -> tuple[str, float]:
    """The test that fits the outcomes, and its p-value."""
    if np.isin(np.concatenate([ours, theirs]), (0.0, 1.0)).all():
        return "McNemar, exact", mcnemar_p(ours, theirs)
    if len(ours) < FEW_CLIPS:
        return "paired permutation", _permutation_p(ours, theirs, seed)
    return "paired bootstrap", _bootstrap_p(ours - theirs, seed, resamples)


def _permutation_p(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int) -> float:
    """Two-sided, over all ways to exchange the two in a pair where they are few enough."""
    from scipy.stats import permutation_test

    def ahead(first: NDArray[np.float64], second: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray((first - second).mean(axis=axis))

    if len(ours) < 2 or np.array_equal(ours, theirs):
        return 1.0
    rng = np.random.default_rng(seed)
    test = permutation_test((ours, theirs), ahead, permutation_type="samples", vectorized=True, rng=rng)
    return float(test.pvalue)


def mcnemar_p(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided p-value of McNemar's test: hits and misses [Q] of the same clips.

    Of the clips that only one of both gets right, each is right by chance alone: binomial with one half.
    """
    from scipy.stats import binomtest

    ours, theirs = np.asarray(first) == 1, np.asarray(second) == 1
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue)


def compare_seeds(first: ArrayLike, second: ArrayLike) -> PairedTest | None:
    """Student's paired t test of the values [S], percent, of the same training seeds; interval from the same t.

    It takes the differences to be normally distributed, which a handful of seeds cannot show. (An exact sign test of
    three seeds could never fall below p = 0.25.) None where all differences are equal: accuracies are counts of clips,
    so that two or three may agree by chance, and t would make certainty of it.
    """
    ahead = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    assert len(ahead) >= MIN_PAIRS_OF_SEEDS, f"{len(ahead)} seeds cannot be compared"
    if np.ptp(ahead) < NO_SPREAD:
        return None
    low, high, p = _student(ahead)
    return PairedTest(
        test="paired t, over seeds", pairs=len(ahead), difference=float(ahead.mean()), low=low, high=high, p=p
    )


def holm_corrected(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values [N] corrected for their number by Holm's step-down method, in the same order.

    Tests whose corrected value is below 0.05 hold together with at most 5 % chance of any false one among them,
    whatever they share.

    Source:
        S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def _student(ahead: NDArray[np.float64]) -> tuple[float, float, float]:
    """95 % interval of the mean of `ahead` [S], and the p-value of its being zero."""
    from scipy.stats import t

    mean, error, freedom = float(ahead.mean()), float(ahead.std(ddof=1) / np.sqrt(len(ahead))), len(ahead) - 1
    margin = float(t.ppf(0.975, freedom)) * error
    return mean - margin, mean + margin, float(2 * t.sf(abs(mean) / error, freedom))


def _bootstrap_p(ahead: NDArray[np.float64], seed: int, resamples: int) -> float:
    """Share of resampled means on the other side of zero, twice."""
    if not ahead.any():
        return 1.0
    means = resampled_means(ahead, np.random.default_rng(seed), resamples)
    other_side = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (other_side + 1) / (resamples + 1))
