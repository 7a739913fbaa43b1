"""Whether two backbones differ, tested on the same queries, clips or seeds: two-sided p-values, each test by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tvts_bench.metrics.bootstrap import paired_difference, resampled_means

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
