"""The distribution of one delay as probabilities: P(d ≤ x) and P(d < x), which differ where delays pile up.

Exact for policies that say how a delay is spread (`Drawn.spread`), which all presets do; by quadrature for the two
whose delay has no closed form, Polly's and the decorrelated jitter from retry 2 on. A policy of someone's own that says
nothing has no law, and is none the worse for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.pipeline import decorrelated
from tem_sim.pipeline.backoff import MAX_DELAY_S, Backoff, Decorrelated
from tem_sim.pipeline.preset_pairs import Redrawn, Telescoped
from tem_sim.pipeline.scaled import Scaled
from tem_sim.pipeline.spread import Floored, Uniform

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tem_sim.pipeline.backoff import Policy

    Share = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# A delay that was scaled counts as equal to an end of its law that is nearer than this part of it, and one that was
# stored, which keeps microseconds, nearer than that.
SAME = 1e-9
ROUNDING_S = 1e-6
_POINTS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class DelayLaw:
    """The probability of a delay up to x and of one below x, both functions of arrays; `exact` or by quadrature."""

    at: Share
    below: Share
    exact: bool = True

    def stretched(self, factor: float) -> DelayLaw:
        """Return the law of a delay so many times as long."""
        if factor == 1:
            return self
        return DelayLaw(lambda x: self.at(x / factor), lambda x: self.below(x / factor), self.exact)

    def between(self, edges_s: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each interval (edge, next edge]."""
        return np.diff(self.at(np.asarray(edges_s, dtype=np.float64)))


def delay_law(policy: Policy, retry: int) -> DelayLaw | None:
    """Return the law of the delay before a retry over all rows, or None where the policy does not tell it."""
    if isinstance(policy, Scaled):
        law = delay_law(policy.policy, retry)
        return None if law is None else law.stretched(policy.factor)
    if isinstance(policy, Backoff) and isinstance(policy.jitter, Decorrelated) and retry > 1:
        return _decorrelated(policy, policy.jitter.factor, retry)
    if policy.needs_previous and retry > 1:
        return None
    spread_of = getattr(policy, "spread", None)
    spread = None if spread_of is None else spread_of(retry)
    match spread:
        case Uniform():
            return _uniform(spread)
        case Floored():
            return _whole(lambda ticks: _floored(spread, ticks), spread.per_s)
        case Redrawn():
            return _whole(lambda ticks: _redrawn(spread, ticks), 1000.0)
        case Telescoped():
            return _telescoped(spread)
    return None


def _uniform(spread: Uniform) -> DelayLaw:
    high_s = spread.high_s
    # Narrower than rounding is a point.
    width_s = 0.0 if spread.width_s < ROUNDING_S * SAME else spread.width_s
    slack_s = max(SAME * high_s, ROUNDING_S)

    def inside(x: NDArray[np.float64]) -> NDArray[np.float64]:
        if width_s == 0:
            return np.where(x < high_s - slack_s, 0.0, 1.0)
        return np.clip((x - spread.low_s) / width_s, 0.0, 1.0)

    def at(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x >= high_s - slack_s, 1.0, inside(x))

    def below(x: NDArray[np.float64]) -> NDArray[np.float64]:
        atom = 1.0 - spread.mass_at(high_s)
        return np.where(x > high_s + slack_s, 1.0, np.minimum(inside(x), atom))

    return DelayLaw(at, below)


def _whole(upto: Share, per_s: float) -> DelayLaw:
    """Make the law of a delay in whole ticks, given the probability of up to so many."""

    def at(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return upto(np.floor(x * per_s * (1 + SAME) + SAME))

    def below(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return upto(np.ceil(x * per_s * (1 - SAME) - SAME) - 1)

    return DelayLaw(at, below)


def _floored(spread: Floored, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
    if not spread.width:
        return np.where(ticks >= spread.top, 1.0, 0.0)
    return np.where(ticks >= spread.top, 1.0, np.clip((ticks + 1 - spread.low) / spread.width, 0.0, 1.0))


def _redrawn(spread: Redrawn, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix the first draw, kept up to the top, with the second."""
    kept = np.clip((np.minimum(ticks, math.floor(spread.top_ms)) + 1 - spread.low_ms) / spread.low_ms, 0.0, 1.0)
    most = min(1.0, max(0.0, (math.floor(spread.top_ms) + 1 - spread.low_ms) / spread.low_ms))
    return kept + (1 - most) * _floored(Floored(spread.top_ms / 2, spread.top_ms / 2), ticks)


def _decorrelated(policy: Backoff, factor: float, retry: int) -> DelayLaw | None:
    base_s = policy.growth.value_s(1)
    cap_s = min(MAX_DELAY_S, policy.cap_s or MAX_DELAY_S, Decorrelated(factor).top_s(base_s, retry))
    if cap_s <= base_s or factor == 1:
        return _uniform(Uniform(base_s))
    edges_s, less = decorrelated.cumulative(
        base_s, factor, cap_s, retry, clipped=policy.cap_after_jitter and cap_s == policy.cap_s
    )
    return _tabled(edges_s, less)


def _telescoped(spread: Telescoped) -> DelayLaw:
    """Average over the carried uniform the chance that the reached one stays below what is left."""
    middles = (np.arange(_POINTS // 8) + 0.5) / (_POINTS // 8)
    # The reached value grows like a root at first; points that lie close together there follow it.
    steps = np.linspace(0.0, 1.0, _POINTS) ** 2
    reached = _polly_f(spread.retry - 1 + steps)
    carried = _polly_f(spread.retry - 2 + middles) if spread.retry > 1 else np.zeros(1)
    delays_s = np.linspace(0.0, spread.moments().max_s, _POINTS)
    targets = delays_s[:, None] * (1.4 / spread.median_first_s) + carried[None, :]
    return _tabled(delays_s, np.interp(targets, reached, steps).mean(axis=1))


def _polly_f(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp2(t) * np.tanh(np.sqrt(4.0 * t)))


def _tabled(delays_s: NDArray[np.float64], less: NDArray[np.float64]) -> DelayLaw:
    """Make a law of a table of P(d < x); what is left at its end is mass at the last delay."""
    slack_s = max(SAME * delays_s[-1], ROUNDING_S)

    def below(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > delays_s[-1] + slack_s, 1.0, np.interp(x, delays_s, less, left=0.0))

    def at(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x >= delays_s[-1] - slack_s, 1.0, np.interp(x, delays_s, less, left=0.0))

    return DelayLaw(at, below, exact=False)
