"""Events that an outage catches, followed one by one: who ends EXTINCT, who gets through when, after how many attempts.

The model of `outage_theory`, drawn: events are submitted evenly over the outage, every attempt made in it fails, none
after it does. Here attempts may take time to fail, and a scheduler may release retries by its ticks, whose grid lies
anywhere under each event.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.ticks import Tick
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Policy

# An event that still tries after so many retries within one outage is followed no further.
MAX_RETRIES = 10_000


class Caught(NamedTuple):
    """What became of each event: EXTINCT or not, when after the outage's end it got through (NaN: not), attempts."""

    extinct: NDArray[np.bool_]
    after_s: NDArray[np.float64]
    attempts: NDArray[np.int64]


def caught(
    policy: Policy, outage_s: float, n: int, seed: int = 1, *, fail_s: float = 0.0, period_s: float | None = None
) -> Caught:
    """Follow n events submitted during an outage of this length; `period_s` is the scheduler's, None for none.

    The same seed gives all policies and lengths the same luck.
    """
    streams = Streams(seed)
    # Time is counted from a point of the grid, which is another one for each event.
    shift_s = streams.generator("caught", "grid").random(n) * (period_s or 0.0)
    submitted_s = streams.generator("caught", "submit").random(n) * outage_s - shift_s
    end_s = outage_s - shift_s
    tick = None if period_s is None else Tick(period_s)
    budget_s = math.inf if policy.budget_s is None else policy.budget_s
    found = Caught(np.zeros(n, dtype=bool), np.full(n, np.nan), np.ones(n, dtype=np.int64))
    failing, failed_s = np.ones(n, dtype=bool), submitted_s + fail_s
    previous_s, last = None, np.full(n, -np.inf)
    for retry in range(1, 1 + (MAX_RETRIES if policy.max_retries is None else policy.max_retries)):
        previous_s = policy.delays(retry, streams.generator("caught", retry), n, previous_s)
        start_s = failed_s + previous_s
        spent = failing & (start_s - submitted_s > budget_s)
        if tick is not None:
            # A tick that has passed releases nothing any more.
            last = np.maximum(tick.number(start_s), last + 1)
            start_s = tick.at_s(last)
        failing = _settle(found, failing, spent, start_s - end_s)
        if not failing.any():
            break
        failed_s = start_s + fail_s
    if policy.max_retries is not None:
        found.extinct[failing] = True
    return found


def _settle(
    found: Caught, failing: NDArray[np.bool_], spent: NDArray[np.bool_], beyond_s: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Write down who has given up and who got through at this retry; return who fails on."""
    found.extinct[spent] = True
    trying = failing & ~spent
    found.attempts[trying] += 1
    through = trying & (beyond_s >= 0)
    found.after_s[through] = beyond_s[through]
    return trying & ~through
