"""Where one more run should fall, told from runs that are there: a prediction interval without any assumed shape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.statistics import LEVEL

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Predicted(NamedTuple):
    """Between which of n observed values one more should fall, and how surely; NaN bounds from fewer than two.

    `coverage` is the probability, before anything is observed, for values of a continuous distribution; where values
    repeat it is at least that. `missing` values were not observed.
    """

    median: float
    low: float
    high: float
    coverage: float
    n: int
    missing: int

    def holds(self, value: float) -> bool:
        """Tell whether a value lies within; at an interval of no width, whether it is that very value."""
        return self.low <= value <= self.high


def prediction_interval(values: ArrayLike, level: float = LEVEL) -> Predicted:
    """Return the narrowest interval between two order statistics, symmetric in rank, that covers at least `level`.

    One more value of the same distribution is equally likely to fall into each of the n + 1 gaps between n sorted ones,
    so that it lies between the r-th and the (n + 1 − r)-th with probability (n + 1 − 2r) / (n + 1) (Wilks 1941, Ann.
    Math. Stat. 12, 91; Meeker, Hahn and Escobar 2017, "Statistical Intervals", chapter 5). 95 % takes n = 39, where it
    is the least and the largest value; 50 give 96.1 %, and 100 allow r = 2 and 96.0 %. From fewer than 39 values it is
    their whole range, and `coverage` says how little that is: 81.8 % of 10.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    given = np.asarray(values, dtype=np.float64)
    known = np.sort(given[~np.isnan(given)])
    n, missing = len(known), len(given) - len(known)
    if n < 2:
        return Predicted(float(known[0]) if n else math.nan, math.nan, math.nan, math.nan, n, missing)
    rank = rank_of(n, level)
    coverage = (n + 1 - 2 * rank) / (n + 1)
    return Predicted(float(np.median(known)), float(known[rank - 1]), float(known[n - rank]), coverage, n, missing)


def rank_of(n: int, level: float = LEVEL) -> int:
    """Return r: the r-th and the (n + 1 − r)-th of n sorted values bound the interval; at least 1."""
    # Rounded, since 0.05 · 40 / 2 must be 1 although 1 − 0.95 is a little more than 0.05.
    return max(1, math.floor(round((1 - level) * (n + 1) / 2, 9)))
