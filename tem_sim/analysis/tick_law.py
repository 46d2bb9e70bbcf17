"""What a scheduler's tick makes of a jitter, on paper: the share of the rows that each tick releases, and its largest.

A retry released by a tick fails on the grid of ticks, so the ticks between two retries of a row are whole numbers, and
independent from retry to retry where the delays are: the law of retry k is the convolution of k laws. No LIMIT here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.delay_law import DelayLaw, delay_law
from tem_sim.analysis.ticks import Tick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Policy

# More ticks than this between a failure and its retry are not laid out one by one.
MAX_TICKS = 2**20
# Where the failure falls between two ticks is anybody's guess: shares are averaged over so many places.
PHASES = 64


class TickShares(NamedTuple):
    """The share of the rows that tick `first`, and each one after it, releases."""

    first: int
    shares: NDArray[np.float64]


def tick_shares(policy: Policy, tick: Tick, retries: int, fail_s: float = 0.0) -> list[TickShares]:
    """Return the shares per retry, for as many retries as can be told.

    All of them, but for policies with a budget, whose later delays depend on the earlier ones, and for those that grow
    from the previous delay: of these the first alone.
    """
    found: list[TickShares] = []
    knowable = 1 if policy.needs_previous or policy.budget_s is not None else retries
    for retry in range(1, min(knowable, retries) + 1):
        law = delay_law(policy, retry)
        if law is None or policy.support(retry)[1] / tick.period_s > MAX_TICKS:
            break
        step = _gaps(policy, law, retry, tick, fail_s) if found else _first(policy, law, tick)
        found.append(_after(found[-1], step) if found else step)
    return found


def largest_share(policy: Policy, period_s: float, retry: int = 1) -> float:
    """Return the largest part of the rows that one tick releases, averaged over where the grid lies.

    For any law; `burst_theory.mean_largest_tick_share` has the closed form for a uniform one. NaN where there is none.
    """
    law = delay_law(policy, retry)
    low_s, high_s = policy.support(retry)
    if law is None or (high_s - low_s) / period_s > MAX_TICKS:
        return math.nan
    places = (np.arange(PHASES) + 0.5) / PHASES * period_s
    ticks = np.arange(-1, math.ceil((high_s - low_s) / period_s) + 2) * period_s
    return float(np.mean([law.between(low_s + place + ticks).max() for place in places]))


def tick_warning(policy: Policy, period_s: float, retry: int = 1, name: str = "") -> str:
    """Return a sentence with the numbers when the jitter J is narrower than the scheduler's period T; else nothing."""
    low_s, high_s = policy.support(retry)
    width_s = high_s - low_s
    if not 0 < width_s < period_s:
        return ""
    share = largest_share(policy, period_s, retry)
    gathered = "" if math.isnan(share) else f", {share:.0%} of the rows that fail together on average"
    return (
        f"{name or policy.name or policy.formula}: the jitter before retry {retry} is {width_s:.3g} s wide (J) and the "
        f"scheduler looks every {period_s:.3g} s (T). J < T: one tick gathers what the jitter spread{gathered}. A tick "
        f"of {width_s / 10:.2g} s would release them in ten parts."
    )


def _first(policy: Policy, law: DelayLaw, tick: Tick) -> TickShares:
    low_s, high_s = policy.support(1)
    first, last = (int(tick.number(end_s)) for end_s in (low_s, high_s))
    edges_s = tick.at_s(np.arange(first - 1, last + 1, dtype=np.float64))
    shares = law.between(edges_s)
    # What lies on the first edge itself, as all of it does without jitter, belongs to no interval before it.
    shares[0] = float(law.at(edges_s[1:2])[0])
    return TickShares(first, shares)


def _gaps(policy: Policy, law: DelayLaw, retry: int, tick: Tick, fail_s: float) -> TickShares:
    """Return the law of the ticks from one release to the next, which is at least 1."""
    high_s = policy.support(retry)[1] + fail_s
    last = max(1, math.ceil(high_s / tick.period_s - 1e-9))
    ends_s = np.arange(1, last + 1, dtype=np.float64) * tick.period_s - fail_s
    return TickShares(1, np.diff(law.at(ends_s), prepend=0.0))


def _after(before: TickShares, step: TickShares) -> TickShares:
    from scipy.signal import convolve

    return TickShares(before.first + step.first, np.maximum(0.0, convolve(before.shares, step.shares)))
