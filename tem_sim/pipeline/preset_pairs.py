"""Retry formulas of other systems that take two uniforms for one delay: dramatiq and Polly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.pipeline.backoff import Chance, Drawn
from tem_sim.pipeline.bounds import MAX_DELAY_S, count, limits, retry_number, saturate, seconds
from tem_sim.pipeline.spread import Floored, Moments, Spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEVEN_DAYS_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Dramatiq(Drawn):
    """trunc(b·U(1, 2)) ms with b = min_backoff·2^min(k−1, 32), and past the maximum trunc(max·U(0.5, 1)).

    The second draw keeps some jitter where a clamp would pile all delays up. It is taken from the stream even
    when it is not needed, so that every delay costs the same number of uniforms.
    """

    min_backoff_ms: int = 15_000
    max_backoff_ms: int = _SEVEN_DAYS_MS
    max_retries: int | None = 20
    budget_s: float | None = None
    name: str = "dramatiq"

    def __post_init__(self) -> None:
        retries, budget_s = limits("Dramatiq", self.max_retries, self.budget_s)
        object.__setattr__(self, "max_retries", retries)
        object.__setattr__(self, "budget_s", budget_s)
        count("Dramatiq.min_backoff_ms", self.min_backoff_ms, least=1)
        count("Dramatiq.max_backoff_ms", self.max_backoff_ms, least=1)

    @property
    def draws(self) -> int:
        return 2

    @property
    def formula(self) -> str:
        top = self._top_ms
        return (
            f"trunc(b·U(1, 2))/1000, b = {self.min_backoff_ms}·2^min(k−1, 32); "
            f"where that exceeds {top / 1000:g}: trunc({top}·U(0.5, 1))/1000"
        )

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        return Redrawn(float(self.min_backoff_ms * 2 ** min(retry_number(retry) - 1, 32)), float(self._top_ms))

    @property
    def _top_ms(self) -> int:
        """The middleware lowers any maximum above its own default."""
        return min(self.max_backoff_ms, _SEVEN_DAYS_MS)


@dataclass(frozen=True, slots=True)
class Redrawn:
    """floor(low·U(1, 2)) ms, drawn again as floor(top·U(0.5, 1)) when it is more than `top`."""

    low_ms: float
    top_ms: float

    def at(self, uniforms: Sequence[float]) -> float:
        first = math.floor(self.low_ms * (1 + uniforms[0]))
        return (first if first <= self.top_ms else math.floor(self.top_ms * (0.5 + 0.5 * uniforms[1]))) / 1000

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        first = np.floor(self.low_ms * (1 + uniforms[:, 0]))
        again = np.floor(self.top_ms * (0.5 + 0.5 * uniforms[:, 1]))
        return np.where(first <= self.top_ms, first, again) / 1000

    def moments(self) -> Moments:
        """Mix the two draws: the first is evenly one of low..2·low−1 ms, and kept up to `top`."""
        kept_top = min(2 * self.low_ms - 1, self.top_ms)
        kept = max(0.0, kept_top - self.low_ms + 1)
        share = kept / self.low_ms
        again = Floored(self.top_ms / 2, self.top_ms / 2, 1000).moments()
        if share == 1:
            return Moments(self.low_ms / 1000, _middle(self.low_ms, kept_top), kept_top / 1000, _even(kept))
        if share == 0:
            return again
        assert again.mean_s is not None
        assert again.var_s2 is not None
        gap = again.mean_s - _middle(self.low_ms, kept_top)
        mean_s = again.mean_s - share * gap
        var_s2 = share * _even(kept) + (1 - share) * again.var_s2 + share * (1 - share) * gap * gap
        return Moments(min(self.low_ms / 1000, again.min_s), mean_s, max(kept_top / 1000, again.max_s), var_s2)


@dataclass(frozen=True, slots=True)
class PollyDecorrelatedV2(Drawn):
    """(f(k−1+U) − previous f)·median/1.4 with f(t) = 2^t·tanh(√(4t)), truncated to ticks of 100 ns.

    Polly carries f between the retries of one call, so that delays telescope. A delay here cannot see the
    last f (the previous delay alone does not tell it), so `delay` draws it afresh: every retry then has
    exactly Polly's distribution, without the negative correlation between neighbours. `chain` draws a whole
    event as Polly does, one uniform per retry.
    """

    median_first_s: float = 2.0
    max_retries: int | None = 3
    budget_s: float | None = None
    name: str = "polly-decorrelated-v2"

    def __post_init__(self) -> None:
        retries, budget_s = limits("PollyDecorrelatedV2", self.max_retries, self.budget_s)
        object.__setattr__(self, "max_retries", retries)
        object.__setattr__(self, "budget_s", budget_s)
        median_s = seconds("PollyDecorrelatedV2.median_first_s", self.median_first_s, above=0)
        object.__setattr__(self, "median_first_s", median_s)

    @property
    def draws(self) -> int:
        return 2

    @property
    def formula(self) -> str:
        return f"(f(k−1+U) − previous f)·{self.median_first_s:g}/1.4, f(t) = 2^t·tanh(√(4t))"

    def spread(self, retry: int, previous_s: float | None = None) -> Telescoped:
        return Telescoped(min(retry_number(retry), 1000), self.median_first_s)

    def mean_s(self, retry: int) -> float:
        """Return the mean by quadrature: the midpoints of a 1 000 × 1 000 grid over the two uniforms."""
        return self.spread(retry).mean_by_midpoints_s(1000)

    def chain(self, rng: Chance, retries: int) -> tuple[float, ...]:
        """Draw the delays of one event as Polly does, carrying f from each retry to the next."""
        carried, delays_s = 0.0, []
        for retry in range(1, retries + 1):
            reached = _polly_f(min(retry, 1000) - 1 + rng.random())
            delays_s.append(_ticks_s(reached - carried, self.median_first_s))
            carried = reached
        return tuple(delays_s)


@dataclass(frozen=True, slots=True)
class Telescoped:
    """f(k−1+u₂) − f(k−2+u₁), scaled: the step that Polly waits, from f = 0 before the first retry."""

    retry: int
    median_first_s: float

    def at(self, uniforms: Sequence[float]) -> float:
        """Take the carried f from the first uniform and the reached one from the second."""
        carried = _polly_f(self.retry - 2 + uniforms[0]) if self.retry > 1 else 0.0
        return _ticks_s(_polly_f(self.retry - 1 + uniforms[1]) - carried, self.median_first_s)

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Loop over the scalar formula: numpy's tanh may differ from the C library's in the last bit."""
        import numpy as np

        return np.array([self.at(row) for row in uniforms.tolist()], dtype=np.float64)

    def moments(self) -> Moments:
        """Return the support alone; the integral of f has no closed form."""
        carried = _polly_f(self.retry - 2) if self.retry > 1 else 0.0
        return Moments(0.0, None, _ticks_s(_polly_f(self.retry) - carried, self.median_first_s), None)

    def mean_by_midpoints_s(self, points: int) -> float:
        import numpy as np

        middles = (np.arange(points) + 0.5) / points
        reached = np.array([_polly_f(self.retry - 1 + middle) for middle in middles.tolist()])
        carried = np.zeros(1)
        if self.retry > 1:
            carried = np.array([_polly_f(self.retry - 2 + middle) for middle in middles.tolist()])
        scaled_s = (reached[:, None] - carried[None, :]) * (self.median_first_s / 1.4)
        return float(np.minimum(MAX_DELAY_S, scaled_s).mean())


def _polly_f(t: float) -> float:
    return math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t))


def _ticks_s(value: float, median_first_s: float) -> float:
    """Scale as Polly does, (1/1.4) first, and truncate to .NET ticks."""
    ticks = value * (1 / 1.4) * (median_first_s * 1e7)
    return saturate(math.trunc(ticks) / 1e7)


def _middle(low_ms: float, top_ms: float) -> float:
    return (low_ms + top_ms) / 2000


def _even(values: float) -> float:
    """Return the variance in s² of one of so many neighbouring whole milliseconds, each as likely."""
    return (values * values - 1) / 12e6
