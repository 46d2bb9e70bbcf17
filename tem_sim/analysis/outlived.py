"""How long an outage a policy outlives, on paper: the share that one kills, and the longest that kills no more than so.

`outage_theory` knows policies whose retries start when they are due; this adds attempts that take time to fail and a
scheduler that releases retries by its ticks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.outage_theory import Estimates, extinct_in_outage
from tem_sim.analysis.retry_theory import retry_horizon
from tem_sim.analysis.ticked import under_tick
from tem_sim.pipeline.backoff import MAX_DELAY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Policy

# The share of the events caught by an outage up to which it counts as outlived.
TARGET = 0.001
# Without chance a policy is followed for so many retries.
MAX_RETRIES = 100_000
_POINTS = 16
_CLOSE = 1e-3


def expected_share(
    policy: Policy, lengths_s: NDArray[np.float64], fail_s: float = 0.0, period_s: float | None = None
) -> Estimates:
    """Return P(EXTINCT) for each length, and about how far it may be off; NaN where it can't be told."""
    lived = policy if period_s is None else under_tick(policy, period_s, fail_s)
    if lived is not None:
        return _on_paper(lived, lengths_s, fail_s)
    assert period_s is not None
    # No tick comes later than a period, so the truth is between never late and always late.
    early, usual, late = (_on_paper(policy, lengths_s, fail_s + part * period_s) for part in (0.0, 0.5, 1.0))
    return Estimates(usual.value, np.maximum(early.value - usual.value, usual.value - late.value) + usual.error)


def longest_outage_s(
    policy: Policy, p_extinct: float = TARGET, fail_s: float = 0.0, period_s: float | None = None
) -> float:
    """Return the longest outage in which at most this share of the events caught ends EXTINCT, to 1 in 1,000.

    The share grows with the length. inf for a policy that never gives up, 0 for one whose retries all come at once, NaN
    where the share can't be told.
    """
    low_s, high_s = _bracket_s(policy, p_extinct, fail_s, period_s)
    while math.isfinite(high_s) and high_s - low_s > _CLOSE * high_s:
        lengths_s = np.geomspace(max(low_s, 1e-6 * high_s), high_s, _POINTS + 2)[1:-1]
        shares = expected_share(policy, lengths_s, fail_s, period_s).value
        if np.isnan(shares).any():
            return math.nan
        passed = int((shares <= p_extinct).sum())
        ends_s = [low_s, *lengths_s.tolist(), high_s]
        low_s, high_s = ends_s[passed], ends_s[passed + 1]
        if high_s < 1e-6:
            return 0.0
    return low_s


def seconds_words(length_s: float) -> str:
    """Write a length of time in three digits and a unit that suits it."""
    if not math.isfinite(length_s):
        return "unknown" if math.isnan(length_s) else "any"
    for unit, each_s in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if length_s >= 3 * each_s:
            return f"{length_s / each_s:.3g} {unit}"
    return f"{length_s:.3g} s"


def _on_paper(policy: Policy, lengths_s: NDArray[np.float64], extra_s: float) -> Estimates:
    last_s = _last_attempt_s(policy, extra_s) if policy.draws == 0 else None
    if last_s is not None:
        return Estimates(np.maximum(0.0, 1 - last_s / lengths_s), np.zeros(len(lengths_s)))
    try:
        return extinct_in_outage(policy, lengths_s, extra_s=extra_s)
    except ValueError:
        # A budget of days and a retry every few seconds: more of them than can be summed.
        unknown = np.full(len(lengths_s), math.nan)
        return Estimates(unknown, unknown)


def _last_attempt_s(policy: Policy, extra_s: float) -> float | None:
    """Return when an event tries for the last time, chance playing no part; None when that is never, or takes ages."""
    waited_s, retry = 0.0, 0
    while policy.max_retries is None or retry < policy.max_retries:
        retry += 1
        delay_s = policy.support(retry)[0]
        if policy.budget_s is not None and waited_s + delay_s > policy.budget_s:
            break
        waited_s += delay_s + extra_s
        if retry > MAX_RETRIES or (policy.max_retries is None and policy.budget_s is None):
            return None
    return waited_s


def _bracket_s(policy: Policy, p_extinct: float, fail_s: float, period_s: float | None) -> tuple[float, float]:
    """Return an outage that all outlive, and one that kills more than the share: it kills 1 − S/D of them at least."""
    if policy.max_retries is None and policy.budget_s is None:
        return math.inf, math.inf
    horizon = retry_horizon(policy)
    tries = 1 if policy.max_retries is None else policy.max_retries + 1
    longest_s = horizon.max_s + tries * (fail_s + (period_s or 0.0))
    least_s = 0.0 if policy.budget_s is not None else horizon.min_s
    return min(least_s, MAX_DELAY_S / 2), min(1.01 * longest_s / (1 - p_extinct), MAX_DELAY_S)
