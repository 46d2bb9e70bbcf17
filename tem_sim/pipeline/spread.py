"""The distribution of one delay, as a value: draw from it, one or many, and know its moments exactly.

A draw is a fixed function of uniforms in [0, 1), the same arithmetic for one and for many, so that n
scalar draws from a stream equal one vectorised draw of n bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Moments:
    """Support, mean and variance of a delay; mean and variance are None where no closed form exists."""

    min_s: float
    mean_s: float | None
    max_s: float
    var_s2: float | None


class Spread(Protocol):
    """The distribution of one delay."""

    def at(self, uniforms: Sequence[float]) -> float:
        """Return the delay in seconds that these uniforms give."""

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one delay per row of an (n, draws) array of uniforms."""

    def moments(self) -> Moments:
        """Return the support and the exact moments."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """min(clip, low + width·u): uniform, with an atom at the clip when the clip lies inside the interval."""

    low_s: float
    width_s: float = 0.0
    clip_s: float = math.inf

    @property
    def high_s(self) -> float:
        return min(self.clip_s, self.low_s + self.width_s)

    def at(self, uniforms: Sequence[float]) -> float:
        if self.width_s == 0:
            return self.high_s
        # Rounding could carry the sum one bit past its upper end, hence min also without a clip.
        return min(self.high_s, self.low_s + self.width_s * uniforms[0])

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        if self.width_s == 0:
            return np.full(len(uniforms), self.high_s)
        return np.minimum(self.high_s, self.low_s + self.width_s * uniforms[:, 0])

    def moments(self) -> Moments:
        """Measure the distance below the upper end: it is uniform on the part that is not clipped."""
        high, low = self.high_s, min(self.low_s, self.high_s)
        share = 1 - self._clipped_share()
        below = share * (high - low) / 2
        variance = share * (high - low) ** 2 / 3 - below * below
        return Moments(low, high - below, high, max(0.0, variance))

    def mass_at(self, delay_s: float) -> float:
        """Return the probability of exactly this delay."""
        return self._clipped_share() if delay_s == self.high_s else 0.0

    def _clipped_share(self) -> float:
        """Return the probability of the upper end itself: 1 for a point, 0 without clipping."""
        if self.low_s >= self.high_s:
            return 1.0
        reach = self.low_s + self.width_s
        return max(0.0, (reach - self.high_s) / self.width_s) if self.clip_s < reach else 0.0


@dataclass(frozen=True, slots=True)
class Floored:
    """min(clip, floor(low + width·u)) whole ticks, `per_s` of them to the second."""

    low: float
    width: float
    per_s: float = 1.0
    clip: float = math.inf

    @property
    def top(self) -> float:
        """The largest whole number of ticks that can occur."""
        return min(self.clip, max(math.floor(self.low), math.ceil(self.low + self.width) - 1))

    def at(self, uniforms: Sequence[float]) -> float:
        ticks = math.floor(self.low + self.width * uniforms[0]) if self.width else math.floor(self.low)
        return min(self.top, float(ticks)) / self.per_s

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        if not self.width:
            return np.full(len(uniforms), min(self.top, float(math.floor(self.low))) / self.per_s)
        return np.minimum(self.top, np.floor(self.low + self.width * uniforms[:, 0])) / self.per_s

    def moments(self) -> Moments:
        """Sum over the ticks: a part of the first, whole ones between, and what is left on the last."""
        first = min(float(math.floor(self.low)), self.top)
        steps = self.top - first
        if steps == 0:
            return Moments(first / self.per_s, first / self.per_s, first / self.per_s, 0.0)
        between = steps - 1
        last = self._share_of_top() * self.width
        mean = (between * (between + 1) / 2 + steps * last) / self.width
        square = (between * (between + 1) * (2 * between + 1) / 6 + steps * steps * last) / self.width
        variance = max(0.0, square - mean * mean) / self.per_s**2
        return Moments(first / self.per_s, (first + mean) / self.per_s, self.top / self.per_s, variance)

    def _share_of_top(self) -> float:
        return (self.low + self.width - self.top) / self.width
