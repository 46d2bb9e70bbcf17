"""Rows that fail together and keep failing: when each of their retries starts, without a world around them.

Whatever a policy can do against a storm it does here, at its purest: n rows fail at 0, every retry fails again, and
the workers are never short. So the retries are as far apart as the delays, and the scheduler's ticks, set them.

Retry k is due at the end of the attempt before it plus the delay, and starts then, or when a `Tick` releases it. The
delays of one seed come from the same uniforms whatever the policy (common random numbers), and the rows of a smaller
cohort are the first ones of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.ticks import Tick, release
from tem_sim.pipeline.bounds import MAX_DELAY_S, count, seconds, within
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Policy

# More would not fit into the memory of a small machine: each takes 8 bytes, and 16 under a scheduler.
MAX_STARTS = 100_000_000
# Retries that are looked at when neither the caller nor the policy says how many.
USUAL_RETRIES = 5


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cohort:
    """When retry k of each row was due, and when it started: row k−1 of an array of shape (retries, n), in seconds.

    NaN where a row had given up by then, because its next retry would not have started within the policy's budget.
    """

    policy: Policy
    due_s: NDArray[np.float64]
    starts_s: NDArray[np.float64]

    @property
    def retries(self) -> int:
        return len(self.starts_s)

    @property
    def n(self) -> int:
        return int(self.starts_s.shape[1])

    def first(self, n: int) -> Cohort:
        """Return the cohort of the first n rows alone; only right where no LIMIT made rows wait for each other."""
        return Cohort(self.policy, self.due_s[:, :n], self.starts_s[:, :n])

    def of_retry(self, retry: int) -> NDArray[np.float64]:
        """Return the start times of one retry, of the rows that made it."""
        return self._made(self.starts_s[retry - 1])

    def lags_s(self, retry: int) -> NDArray[np.float64]:
        """Return how long after it was due one retry started, of the rows that made it."""
        # To the microsecond: the store keeps no more, and what is left is rounding.
        return self._made(np.round(self.starts_s[retry - 1] - self.due_s[retry - 1], 6))

    def _made(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        # Only a budget makes rows give up, and a look at each value costs as much as counting them.
        return values if self.policy.budget_s is None else values[~np.isnan(values)]

    def __repr__(self) -> str:
        return f"<Cohort of {self.n:,} rows, {self.retries} retries, {self.policy.name or self.policy.formula}>"


def storm_of(
    policy: Policy,
    n: int,
    retries: int | None = None,
    seed: int = 1,
    *,
    fail_s: float = 0.0,
    tick: Tick | None = None,
    stretch: float = 1.0,
) -> Cohort:
    """Return when each retry of n rows that fail together at 0 starts.

    `retries`: how many to look at, at most as many as the policy makes; five where neither says. `fail_s`: how long an
    attempt takes to fail. `tick`: the scheduler; None releases each retry when it is due. `stretch`: makes every delay
    so many times as long, as if base, cap and width were.
    """
    fail_s = seconds("fail_s", fail_s)
    retries = retries_of(policy, retries)
    _check_size(n, retries)
    delays_s = delays_of(policy, n, retries, seed, stretch=stretch)
    due_s, starts_s = release(delays_s, (retries, n), fail_s, tick, policy.budget_s)
    return Cohort(policy, due_s, starts_s)


def delays_of(
    policy: Policy, n: int, retries: int, seed: int = 1, *, stretch: float = 1.0
) -> Iterator[NDArray[np.float64]]:
    """Yield the n rows' delays before retry 1, 2, …, each array of shape (n,) in seconds."""
    _check_size(n, retries)
    stretch = within("stretch", stretch, 0, np.inf, 1)
    streams, previous = Streams(seed), None
    for retry in range(1, count("retries", retries, least=0) + 1):
        previous = policy.delays(retry, streams.generator("cohort", retry), n, previous)
        yield previous if stretch == 1 else np.minimum(MAX_DELAY_S, previous * stretch)


def _check_size(n: int, retries: int) -> None:
    if count("n", n, least=1) * retries > MAX_STARTS:
        raise ValueError(f"n: must be at most {MAX_STARTS:,} / {retries} retries, got {n:,}")


def retries_of(policy: Policy, retries: int | None = None) -> int:
    """Return how many retries are looked at: those asked for, as far as the policy makes them."""
    asked = retries if retries is None else count("retries", retries, least=1)
    if policy.max_retries is None:
        return USUAL_RETRIES if asked is None else asked
    return policy.max_retries if asked is None else min(asked, policy.max_retries)
