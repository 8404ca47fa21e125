"""The study's statistics, on scipy and statsmodels. Errors and their differences are per cent points throughout.

The paper gives one run per result. Whether that one number is at home among our runs is a question for the 95 %
*prediction* interval of one more run; the t interval of the mean, which shrinks to nothing with more seeds, answers
another one. Ablations are paired by seed and by test image. The sampling error of the test set is kept apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests

Interval = tuple[float, float]

LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """n runs: the t interval of their mean, the prediction interval of one more; None where n is too small."""

    n: int
    mean: float | None = None
    sd: float | None = None
    interval: Interval | None = None
    prediction: Interval | None = None


def summarise(values: Sequence[float], level: float = LEVEL) -> Summary:
    """Mean, standard deviation and the two intervals: m ± t s/sqrt(n) and m ± t s sqrt(1 + 1/n), t with n - 1 degrees.

    No value: nothing but n = 0. One value: a mean without spread. Raises ValueError on a value that is not finite.
    """
    if not all(map(isfinite, values)):
        raise ValueError(f"errors must be finite numbers, got {list(values)}")
    n = len(values)
    if n < 2:
        return Summary(n, fmean(values) if n else None)
    mean, sd = fmean(values), stdev(values)
    t = float(stats.t.interval(level, n - 1)[1])
    return Summary(n, mean, sd, _around(mean, t * sd / sqrt(n)), _around(mean, t * sd * sqrt(1 + 1 / n)))


def deviation_interval(n: int, sd: float, level: float = LEVEL) -> Interval:
    """Interval of a standard deviation from n > 1 values that are normally distributed.

    (n - 1) s^2 / sigma^2 follows chi-square with n - 1 degrees of freedom.
    """
    low, high = stats.chi2.interval(level, n - 1)
    return sd * sqrt((n - 1) / high), sd * sqrt((n - 1) / low)


@dataclass(frozen=True)
class VarianceRatio:
    """Variance of A over that of B, its interval, and the two-sided p value of the F test that it is 1."""

    value: float
    interval: Interval
    p: float


def variance_ratio(a: Summary, b: Summary, level: float = LEVEL) -> VarianceRatio | None:
    """Compare two spreads of values that are normally distributed; None where either has none or B's is 0."""
    if not a.sd or not b.sd:
        return None
    value, known = (a.sd / b.sd) ** 2, stats.f(a.n - 1, b.n - 1)
    low, high = known.interval(level)
    p = 2 * min(known.cdf(value), known.sf(value))
    return VarianceRatio(value, (value / float(high), value / float(low)), float(p))


def telling_ratios(a: int, b: int, tests: int) -> Interval:
    """How many times larger, or smaller, the variance of `a` values must be than that of `b` to be told apart from it.

    As the first of `tests` tests under Holm's correction.
    """
    smaller, larger = stats.f(a - 1, b - 1).interval(1 - (1 - LEVEL) / tests)
    return float(larger), float(1 / smaller)


def _around(middle: float, half: float) -> Interval:
    return middle - half, middle + half


def wilson(wrong: int, images: int, level: float = LEVEL) -> Interval:
    """Wilson's interval of an error measured on `images` test images, in per cent: the test set's sampling error."""
    low, high = stats.binomtest(wrong, images).proportion_ci(level, method="wilson")
    return 100 * float(low), 100 * float(high)


def sampling_error(error: float, images: int) -> Interval:
    """Wilson's interval of an error in per cent that was measured on `images` test images."""
    return wilson(round(error * images / 100), images)


@dataclass(frozen=True)
class Paired:
    """A against B, seed by seed. `difference` summarises A - B, so negative means that A errs less.

    `outperforms` is the share of seeds in which A errs less, ties counting half (Bouthillier et al. 2021); `p` is the
    two-sided t test's. What n does not allow is None.
    """

    difference: Summary
    p: float | None
    outperforms: float | None


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Compare the errors {seed: per cent} of two experiments on the seeds that both have."""
    # Errors carry two decimals; without rounding, equal differences would differ by 1e-15 and pass for a spread.
    differences = [round(a[k] - b[k], 9) for k in sorted(a.keys() & b.keys())]
    summary = summarise(differences)
    wins = [1.0 if d < 0 else 0.5 if d == 0 else 0.0 for d in differences]
    return Paired(summary, _t_test(differences, summary), fmean(wins) if wins else None)


def _t_test(differences: Sequence[float], summary: Summary) -> float | None:
    if summary.sd is None:
        return None
    if summary.sd == 0:  # the limit of the test; scipy gives nan and a warning
        return 1.0 if summary.mean == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


@dataclass(frozen=True)
class McNemar:
    """Test images that only A, and only B, gets right, and the exact two-sided p value."""

    only_a: int
    only_b: int
    p: float


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test of two networks on the same images; `a`, `b` have shape [images], True where right.

    It speaks of these two networks, not of the recipes that made them: training noise is `paired`'s business.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"need the same images twice, got shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    result = exact_mcnemar([[0, only_a], [only_b, 0]], exact=True)
    return McNemar(only_a, only_b, float(result.pvalue))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p values of a family of comparisons, in the order given."""
    if not p_values:
        return ()
    return tuple(float(p) for p in multipletests(p_values, method="holm")[1])


def spread_ratio(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[float, float] | None:
    """Relative spread of A over seeds divided by that of B, and Pitman and Morgan's p value for their being equal.

    Spread is the standard deviation of logarithms, so that quantities of different size compare. The test correlates
    sums with differences, seed by seed. None below three shared seeds, without spread, or for values not above zero.
    """
    seeds = sorted(a.keys() & b.keys())
    values = np.array([[side[k] for k in seeds] for side in (a, b)])
    if len(seeds) < 3 or np.ptp(values, axis=1).min() == 0 or values.min() <= 0:
        return None
    x, y = np.log(values)
    return float(np.std(x) / np.std(y)), float(stats.pearsonr(x + y, x - y).pvalue)
