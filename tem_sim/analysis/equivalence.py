"""Whether b is worse than a by more than is tolerated: worse, equivalent, better, no worse, or not to be told.

"No difference was found" is no finding: with few pairs it comes by itself. So worse takes a test that the effect is
above the tolerance, equivalence two that it is within (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657–680), and
what neither shows is unsure. A relative tolerance is tested on b − (1 + share)·a, pair by pair, which takes the luck
in a into account; relative intervals are Fieller's (1954, J. R. Stat. Soc. B 16, 175–185), and agree with those tests.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tem_sim.analysis.statistics import LEVEL, mean_interval, paired

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

Worse = Literal["more", "less"]
Effect = Literal["same", "worse", "equivalent", "better", "no_worse", "unsure"]

# One side of a 95 % interval; and what each of the two tests for equivalence may err by: an interval of 90 %.
ALPHA_WORSE = 0.025
ALPHA_EQUIVALENT = 0.05
# How surely as many pairs as are said to be needed would do.
POWER = 0.9
MAX_PAIRS = 10_000
# What differs by less than this share of the numbers is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The smallest effect that matters: a share of a's mean, or with `relative=False` a number in its own unit."""

    size: float
    relative: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size >= 0):
            raise ValueError(f"a tolerance must be a number from 0 on, got {self.size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """How b differs from a, and how sure it is on which side of the tolerance.

    `effect`, `low` and `high` are b / a − 1 where `relative`, else b − a: also of a relative tolerance where a's mean
    is 0, or not surely anything else. `p_worse` is of the test that the effect exceeds the tolerance in the bad
    direction, and `p_no_worse` of its opposite; `p_better` and `p_no_better` of the good direction. `over` and
    `scatter` are mean and standard deviation of what exceeds the tolerance, in the metric's unit. NaN where there are
    too few pairs.
    """

    mean_a: float
    mean_b: float
    effect: float
    low: float
    high: float
    relative: bool
    n: int
    same: bool
    p_worse: float
    p_no_worse: float
    p_better: float
    p_no_better: float
    over: float
    scatter: float
    variance_reduction: float

    @property
    def testable(self) -> bool:
        """Whether some luck could show it as worse. Differences that are all 0 cannot, and are no test among many."""
        return self.n > 1 and not self.same

    def judged(self, worse: bool) -> Effect:
        """Return what the pairs show; `worse` says that p_worse is small enough among all that were looked at."""
        if self.same and self.n:
            return "same"
        if self.n < 2:
            return "unsure"
        if worse:
            return "worse"
        within = self.p_no_worse <= ALPHA_EQUIVALENT
        if within and self.p_no_better <= ALPHA_EQUIVALENT:
            return "equivalent"
        if self.p_better <= ALPHA_WORSE:
            return "better"
        return "no_worse" if within else "unsure"


def contrast(a: ArrayLike, b: ArrayLike, tolerance: Tolerance, worse: Worse = "more", level: float = LEVEL) -> Contrast:
    """Hold b against a, pair by pair; a pair in which either is not finite is left out."""
    first, second = _both(a, b)
    sign = 1.0 if worse == "more" else -1.0
    found = paired(first, second, level)
    scale = _ROUNDING * float(np.abs(np.concatenate([first, second])).max(initial=0.0))
    same = bool(np.all(np.abs(second - first) <= scale))
    tolerated = tolerance.size * (first * np.sign(first.sum()) if tolerance.relative else np.ones_like(first))
    above, below = (sign * (second - first) - tolerated, sign * (second - first) + tolerated)
    p_worse, p_no_worse = _sides(above, scale)
    p_better, p_no_better = _sides(-below, scale)
    low, high = fieller(first, second, level) if tolerance.relative and len(first) > 1 else (math.nan, math.nan)
    relative = math.isfinite(low)
    return Contrast(
        mean_a=found.mean_a,
        mean_b=found.mean_b,
        effect=found.difference / found.mean_a if relative else found.difference,
        low=low if relative else found.low,
        high=high if relative else found.high,
        relative=relative,
        n=found.n,
        same=same,
        p_worse=p_worse,
        p_no_worse=p_no_worse,
        p_better=p_better,
        p_no_better=p_no_better,
        over=float(above.mean()) if len(above) else math.nan,
        scatter=float(above.std(ddof=1)) if len(above) > 1 else math.nan,
        variance_reduction=found.variance_reduction,
    )


def fieller(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of mean(b) / mean(a) − 1 from pairs; NaN where a's mean is not surely different from 0."""
    from scipy.special import stdtrit

    first, second = _both(a, b)
    n = len(first)
    if n < 2:
        return math.nan, math.nan
    t2 = float(stdtrit(n - 1, (1 + level) / 2)) ** 2 / n
    cov = np.cov(first, second)
    over, under = float(second.mean()), float(first.mean())
    # The shares r with (over − r·under)² ≤ t²·Var(b − r·a) lie between the roots of a parabola.
    square = under**2 - t2 * float(cov[0, 0])
    if square <= 0 or under == 0:
        return math.nan, math.nan
    half = over * under - t2 * float(cov[0, 1])
    root = math.sqrt(max(0.0, half**2 - square * (over**2 - t2 * float(cov[1, 1]))))
    low, high = (half - root) / square - 1, (half + root) / square - 1
    return low, high


def holm(p_values: ArrayLike, alpha: float = ALPHA_WORSE) -> NDArray[np.bool_]:
    """Return which of many tests reject, when the chance that any of them errs is to be at most alpha.

    Holm 1979 (Scand. J. Stat. 6, 65–70); holds whatever the tests have to do with each other. A NaN is no test.
    """
    values = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    rejected = np.zeros(len(values), dtype=bool)
    for rank, index in enumerate(tested[np.argsort(values[tested], kind="stable")]):
        if values[index] > alpha / (len(tested) - rank):
            break
        rejected[index] = True
    return rejected


def pairs_needed(over: float, scatter: float, alpha: float = ALPHA_EQUIVALENT) -> int | None:
    """Return how many pairs would tell on which side of the tolerance the effect is, if it is what it seems to be.

    `over` is the mean by which the tolerance is exceeded (negative within), `scatter` its standard deviation. The test
    at `alpha` then succeeds with a probability of 90 %. None for more than 10,000: the effect lies at the tolerance.
    """
    from scipy.special import stdtrit

    if math.isnan(over) or math.isnan(scatter) or over == 0:
        return None

    def enough(pairs: int) -> bool:
        quantiles = float(stdtrit(pairs - 1, 1 - alpha)) + float(stdtrit(pairs - 1, POWER))
        return quantiles * scatter / math.sqrt(pairs) <= abs(over)

    # What is enough stays so with more pairs.
    found = bisect_left(range(2, MAX_PAIRS + 1), True, key=enough) + 2
    return found if found <= MAX_PAIRS else None


def vanished_p(newly_missing: int, newly_there: int) -> float:
    """Return the p of the exact test that b is missing more often than a (McNemar 1947, Psychometrika 12, 153–157)."""
    from scipy.special import bdtr

    changed = newly_missing + newly_there
    return float(bdtr(newly_there, changed, 0.5)) if changed else math.nan


def _both(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"a and b must be of equal length, got shapes {first.shape} and {second.shape}")
    known = np.isfinite(first) & np.isfinite(second)
    return first[known], second[known]


def _sides(values: Array, rounding: float) -> tuple[float, float]:
    """Return the p of the test that the mean is above 0, and of that it is not; without scatter it is known."""
    from scipy.special import stdtr

    found = mean_interval(values)
    if found.n < 2:
        return math.nan, math.nan
    error = float(values.std(ddof=1)) / math.sqrt(found.n)
    mean = 0.0 if abs(found.estimate) <= rounding else found.estimate
    if error <= rounding:
        return (0.0, 1.0) if mean > 0 else (1.0, 0.0)
    above = float(stdtr(found.n - 1, -mean / error))
    return above, float(stdtr(found.n - 1, mean / error))
