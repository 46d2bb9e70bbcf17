"""How sure a number is: intervals, paired differences, many comparisons at once.

Observations are independent replications unless said otherwise: values within one run depend on each other, and an
interval from them would be too narrow. NaN stands for "not observed"; it is left out, and `n` says what was left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and the interval about it, from n observations; the bounds are NaN where n is too small for one."""

    estimate: float
    low: float
    high: float
    n: int


class Paired(NamedTuple):
    """How b differs from a (b − a) over n pairs, with its interval and two-sided p.

    `variance_reduction` is (Var a + Var b) / Var(b − a): how many times as many independent runs would be needed for
    the same interval. 1 means that pairing gained nothing, inf that the difference is the same in each pair.
    """

    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    variance_reduction: float


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the mean with Student's t interval (Student 1908, "The probable error of a mean", Biometrika 6).

    Exact for normal observations, and close for means over whole runs. NaN bounds from fewer than two values.
    """
    observed = _observed(values)
    n = len(observed)
    if n < 2:
        return Interval(float(observed[0]) if n else math.nan, math.nan, math.nan, n)
    mean = float(observed.mean())
    half = _t_quantile(level, n - 1) * _standard_error(observed)
    return Interval(mean, mean - half, mean + half, n)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the share successes/n with Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209–212).

    Unlike mean ± z·s it stays within [0, 1] and has a width at 0 of n and at n of n. NaN where n is 0.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be from 0 to n, got {successes} of {n}")
    z = _z_quantile(level)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At either end the formula gives exactly 0 or 1, and rounding may carry it past.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high, n)


def paired(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Paired:
    """Return the mean difference b − a with the t interval of the differences and the paired t test's p.

    The i-th of `a` and of `b` shared their luck (common random numbers; Law 2015, "Simulation Modeling and Analysis",
    11.2). A pair with a NaN is left out whole. NaN bounds, p and variance reduction from fewer than two pairs.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"a and b must be of equal length, got shapes {first.shape} and {second.shape}")
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    apart = mean_interval(second - first, level)
    means = (float(first.mean()), float(second.mean())) if apart.n else (math.nan, math.nan)
    p, gain = (_p_of_zero(second - first), _gain(first, second)) if apart.n > 1 else (math.nan, math.nan)
    return Paired(*means, apart.estimate, apart.low, apart.high, p, apart.n, gain)


def false_discoveries(p_values: ArrayLike, q: float = 0.05) -> NDArray[np.bool_]:
    """Return which of many p values count as discoveries, when at most a share q of those may be false.

    Benjamini and Hochberg 1995 (J. R. Stat. Soc. B 57, 289–300): with the m values sorted, all up to the largest k
    with p_(k) ≤ k·q/m. Holds for independent tests and for positively dependent ones. A NaN is no test: it is not
    counted in m, and never a discovery.
    """
    _share("q", q)
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or bool(np.any((values < 0) | (values > 1))):
        raise ValueError("p_values must be a list of numbers from 0 to 1")
    tested = np.sort(values[~np.isnan(values)])
    passed = np.flatnonzero(tested <= np.arange(1, len(tested) + 1) * q / max(1, len(tested)))
    return np.asarray(values <= tested[passed[-1]]) if len(passed) else np.zeros(len(values), dtype=bool)


def z_against(values: ArrayLike, expected: float) -> float:
    """Return how far the mean lies from what is expected, as a standard normal deviate.

    The t statistic of n values has wider tails than a normal one, so that |t| > 3 would come up in 1.5 % of all
    honest tables of ten replications instead of 0.27 %; it is turned into the z of the same tail probability. Where
    all values are equal, z is 0 at the expected value and ±inf elsewhere; NaN from fewer than two.
    """
    from scipy.special import ndtri, stdtr

    observed = _observed(values)
    if len(observed) < 2:
        return math.nan
    apart, error = float(observed.mean()) - expected, _standard_error(observed)
    if error == 0:
        return math.copysign(math.inf, apart) if apart else 0.0
    # From the lower tail, where a probability near 0 is still exact.
    z = -float(ndtri(stdtr(len(observed) - 1, -abs(apart) / error)))
    return math.copysign(z, apart)


def _observed(values: ArrayLike) -> NDArray[np.float64]:
    observed = np.asarray(values, dtype=np.float64)
    if observed.ndim != 1:
        raise ValueError(f"values must be a list of numbers, got an array of shape {observed.shape}")
    return observed[~np.isnan(observed)]


def _standard_error(observed: NDArray[np.float64]) -> float:
    return float(observed.std(ddof=1)) / math.sqrt(len(observed))


def _p_of_zero(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p of the t test that the mean is 0; without any scatter, 1 at zero and else 0."""
    from scipy.special import stdtr

    mean, error = float(differences.mean()), _standard_error(differences)
    if error == 0:
        return float(mean == 0)
    return float(2 * stdtr(len(differences) - 1, -abs(mean) / error))


def _gain(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    apart = float((second - first).var(ddof=1))
    alone = float(first.var(ddof=1) + second.var(ddof=1))
    if apart == 0:
        return math.inf if alone else math.nan
    return alone / apart


def _t_quantile(level: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + _share("level", level)) / 2))


def _z_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + _share("level", level)) / 2))


def _share(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
    return value
