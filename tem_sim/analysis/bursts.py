"""How many of many times fall into the same bin, however far apart the times are: only bins with any are kept.

Bins are [k·width, (k+1)·width) from 0, in whole microseconds, as in `storm`. Over a span of ten years, as the retries
of some presets take, an array of all bins of 100 ms would have three billion places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.storm import bin_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The time to spread leaves out this share of the rows at either end.
TAIL = 0.1
_CELLS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Bursts:
    """The bins that hold anything, in rising order, and the count in each."""

    width_s: float
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def peak(self) -> int:
        """The most in any one bin; 0 of nothing."""
        return int(self.counts.max(initial=0))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def t_s(self) -> NDArray[np.float64]:
        """The left edges of the bins."""
        return np.asarray(np.round(self.bins * self.width_s, 6))

    def wider(self, times: int) -> Bursts:
        """Return the same in bins so many times as wide."""
        return Bursts(self.width_s * times, *_summed(self.bins // times, self.counts))

    @staticmethod
    def merged(parts: Sequence[Bursts]) -> Bursts:
        """Return the sum of several, all of the same width."""
        bins = np.concatenate([part.bins for part in parts])
        counts = np.concatenate([part.counts for part in parts])
        order = np.argsort(bins, kind="stable")
        return Bursts(parts[0].width_s, *_summed(bins[order], counts[order]))


def bursts(times_s: NDArray[np.float64], width_s: float) -> Bursts:
    """Count the times per bin."""
    bins = bin_numbers(times_s, width_s)
    low, high = int(bins.min(initial=2**62)), int(bins.max(initial=0))
    if high - low > 4 * len(bins):
        found, counts = np.unique(bins, return_counts=True)
        return Bursts(width_s, found, counts)
    dense = np.bincount(bins - low) if len(bins) else np.zeros(0, dtype=np.int64)
    held = np.flatnonzero(dense)
    return Bursts(width_s, held + low, dense[held])


def spread_s(times_s: NDArray[np.float64], tail: float = TAIL) -> float:
    """Return the time to spread: how long the middle 80 % take, from the 10 % that are first to the 10 % that are last.

    A rank, not an interpolation: the times of the rows that stand there. NaN of nothing.
    """
    if not len(times_s):
        return float("nan")
    first, last = (max(1, int(np.ceil(share * len(times_s)))) for share in (tail, 1 - tail))
    low, high = float(times_s.min()), float(times_s.max())
    if low == high:
        return 0.0
    # To order the few that share a cell with the one sought is three times as fast as to part them all.
    cells = ((times_s - low) * (_CELLS / (high - low))).astype(np.int32)
    upto = np.cumsum(np.bincount(cells))
    return _ranked(times_s, cells, upto, last) - _ranked(times_s, cells, upto, first)


def _ranked(times_s: NDArray[np.float64], cells: NDArray[np.int32], upto: NDArray[np.int64], rank: int) -> float:
    """Return the rank-th smallest time, from 1; the cells rise with the times."""
    cell = int(np.searchsorted(upto, rank))
    inside = times_s[cells == cell]
    place = rank - 1 - (int(upto[cell - 1]) if cell else 0)
    return float(np.partition(inside, place)[place])


def _summed(bins: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up neighbours that share a bin."""
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    return bins[starts], np.add.reduceat(counts, starts) if len(starts) else counts[:0]
