"""A policy as its rows live it: the wait from a failure to the retry's start, the scheduler's tick included.

The first failure falls anywhere between two ticks, so the tick comes up to a period late, evenly. Every later one falls
on the grid, `fail_s` after the tick that released its attempt, and the wait to the next start is whole periods. As a
policy it can be handed to whatever takes one, `outage_theory` above all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.ticks import micros
from tem_sim.pipeline.backoff import Drawn
from tem_sim.pipeline.spread import Moments, Spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Policy


@dataclass(frozen=True, slots=True)
class Ticked(Drawn):
    """`inner` under a scheduler of this period, for attempts that take `fail_s` to fail."""

    inner: Drawn
    period_s: float
    fail_s: float
    max_retries: int | None
    budget_s: float | None
    name: str
    bare: str

    @property
    def draws(self) -> int:
        """One more than the inner policy: where the first failure falls between two ticks."""
        return self.inner.draws + 1

    @property
    def needs_previous(self) -> bool:
        return self.inner.needs_previous

    @property
    def formula(self) -> str:
        return f"{self.bare}, then to the next tick of {self.period_s:g}"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        return TickedSpread(self.inner.spread(retry, previous_s), self.period_s, self.fail_s, retry == 1)


@dataclass(frozen=True, slots=True)
class TickedSpread:
    """One delay of the above; the last uniform is the place between two ticks."""

    inner: Spread
    period_s: float
    fail_s: float
    first: bool

    def at(self, uniforms: Sequence[float]) -> float:
        return float(self.at_many(np.array([uniforms]))[0])

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        delay_s = self.inner.at_many(uniforms[:, :-1])
        if self.first:
            return delay_s + self.period_s * uniforms[:, -1]
        return self._on_the_grid(delay_s)

    def moments(self) -> Moments:
        """Return the support alone."""
        known = self.inner.moments()
        if self.first:
            return Moments(known.min_s, None, known.max_s + self.period_s, None)
        low_s, high_s = self._on_the_grid(np.array([known.min_s, known.max_s])).tolist()
        return Moments(low_s, None, high_s, None)

    def _on_the_grid(self, delay_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round up to whole periods from the tick that released the attempt, in whole microseconds as stored."""
        waited = np.rint((delay_s + self.fail_s) * 1e6) / micros(self.period_s)
        return np.asarray(np.maximum(1.0, np.ceil(waited)) * self.period_s - self.fail_s)


def under_tick(policy: Policy, period_s: float, fail_s: float) -> Ticked | None:
    """Return the policy as its rows live it, or None where that can't be told delay by delay.

    It can't for delays that grow from the one before, for budgets of total time, and for policies that do not say how
    their delays are spread.
    """
    if policy.needs_previous or policy.budget_s is not None or not isinstance(policy, Drawn):
        return None
    return Ticked(policy, period_s, fail_s, policy.max_retries, policy.budget_s, policy.name, policy.formula)
