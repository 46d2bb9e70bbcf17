"""Where retries tip a downstream over: hidden capacity, and a mean-field model of the collapse that sustains itself.

A downstream serves μ calls per second in order of arrival. A caller gives up after `timeout_s` and tries again later,
but its call stays in the queue and is served, for nobody. While the queue is short all is well; once it is longer than
a caller's patience, every call fails, every event makes R + 1 of them, and a load of λ·(R + 1) keeps the queue long. So
between μ/(R + 1) and μ there are two steady states, and a trigger decides which one it is (Bronson, Aghayev, Charapko
and Zhu 2021, "Metastable Failures in Distributed Systems", HotOS; Huang et al. 2022, "Metastable Failures in the Wild",
OSDI).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tem_sim.analysis.outage_theory import equal_points
from tem_sim.pipeline.backoff import Policy

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.scenario.models import Scenario

Regime = Literal["stable", "vulnerable", "overloaded"]
# Attempt numbers told apart under endless retries; later ones wait as long as the last.
ENDLESS = 12
# A collapse is a goodput of less than this part of the load, in the last quarter of the time looked at.
COLLAPSED = 0.5


@dataclass(frozen=True, slots=True)
class Downstream:
    """What the workers call: `servers` calls at a time of `service_s` each, and callers that wait for `timeout_s`.

    `queue` is how many calls may wait; one more is refused, and a refusal takes `fail_s`. `slots` is how many calls the
    workers can make at the same time.
    """

    servers: int
    service_s: float
    timeout_s: float
    queue: float = math.inf
    fail_s: float = 0.05
    slots: float = math.inf

    def __post_init__(self) -> None:
        if not (self.servers >= 1 and self.slots >= 1 and self.queue >= 0):
            raise ValueError(f"need servers >= 1, slots >= 1 and queue >= 0, got {self}")
        if not (self.service_s > 0 and self.timeout_s > 0 and self.fail_s >= 0):
            raise ValueError(f"need service_s > 0, timeout_s > 0 and fail_s >= 0, got {self}")

    @property
    def capacity_per_s(self) -> float:
        """μ: the calls per second that it serves when all servers are busy."""
        return self.servers / self.service_s

    @property
    def tipping_queue(self) -> float:
        """The calls waiting from which on an answer takes longer than a caller waits, μ·(timeout − service)."""
        return max(0.0, self.capacity_per_s * (self.timeout_s - self.service_s))

    @property
    def can_tip(self) -> bool:
        """Whether the queue can grow that long: neither its limit nor the number of workers' slots keeps it short.

        All slots, each waiting out its timeout, make slots/timeout calls per second. Less than μ, and the queue drains
        whatever happens: few enough slots are a bulkhead.
        """
        return self.queue > self.tipping_queue and self.slots / self.timeout_s >= self.capacity_per_s


def downstream_of(scenario: Scenario) -> Downstream:
    """Return a scenario's downstream; ValueError where it has no capacity to exhaust."""
    handler, capacity = scenario.handler, scenario.handler.capacity
    if capacity is None:
        raise ValueError(f"{scenario.name}: handler.capacity is off, so no number of retries can exhaust it")
    return Downstream(
        servers=capacity.servers,
        service_s=handler.service_time.mean_s,
        timeout_s=capacity.timeout_s,
        queue=capacity.queue,
        fail_s=handler.fail_time_s,
        slots=scenario.workers.count * scenario.workers.concurrency,
    )


def hidden_capacity_per_s(capacity_per_s: float, max_retries: int | None) -> float:
    """Return the load up to which a collapse cannot sustain itself, μ/(R + 1); 0 for endless retries.

    The name is Bronson's (2021), whose example is one retry and half the capacity: in the failed state every event
    makes all its R + 1 attempts, so the load on the downstream is λ·(R + 1); if that is less than μ, its queue drains.
    """
    if not 0 < capacity_per_s < math.inf:
        raise ValueError(f"capacity_per_s must be > 0, got {capacity_per_s}")
    if max_retries is None:
        return 0.0
    if max_retries != int(max_retries) or max_retries < 0:
        raise ValueError(f"max_retries must be a whole number from 0 on, got {max_retries}")
    return capacity_per_s / (max_retries + 1)


def regime(load_per_s: float, downstream: Downstream, max_retries: int | None) -> Regime:
    """Return whether a load of new events is stable, vulnerable (two steady states) or overloaded (Bronson 2021).

    A downstream that cannot tip is stable up to its capacity.
    """
    capacity_per_s = downstream.capacity_per_s
    if load_per_s >= capacity_per_s:
        return "overloaded"
    if load_per_s <= hidden_capacity_per_s(capacity_per_s, max_retries) or not downstream.can_tip:
        return "stable"
    return "vulnerable"


def mean_field(
    policy: Policy, load_per_s: float, downstream: Downstream, *, outage_s: float, after_s: float, step_s: float
) -> pd.DataFrame:
    """Return what a load makes of an outage of the downstream that begins at 0, in the limit of large numbers.

    Index `t_s`, columns attempts_per_s and goodput_per_s (calls made, and those answered in time), `queued` (rows that
    wait for a slot), `waiting` (calls that wait at the downstream), `in_backoff` (rows) and `extinct` (events so far).
    From `outage_s` on it runs for `after_s`.

    A fluid model, derived here from the simulator's rules: rates instead of events, and in each step of `step_s` one
    parcel per attempt number. Its calls fail in the outage, where the queue is full, and where their answer would take
    longer than the timeout; what failed comes back spread as the policy says. Left out: all chance, the scheduler's
    ticks, the spread of service times, and what a decorrelated delay owes to the one before it.
    """
    if not (load_per_s > 0 and outage_s >= 0 and after_s > 0):
        raise ValueError(f"need load_per_s > 0, outage_s >= 0 and after_s > 0, got {load_per_s}, {outage_s}, {after_s}")
    if not 0 < step_s <= downstream.timeout_s:
        raise ValueError(f"step_s must be above 0 and at most the timeout of {downstream.timeout_s:g} s, got {step_s}")
    return _Fluid(policy, load_per_s, downstream, outage_s, outage_s + after_s, step_s).run()


def collapses(table: pd.DataFrame, load_per_s: float) -> bool:
    """Tell whether a `mean_field` table ends in collapse: goodput below half of the load over its last quarter."""
    last = table["goodput_per_s"].to_numpy()[-max(1, len(table) // 4) :]
    return bool(last.mean() < COLLAPSED * load_per_s)


def tipping_outage_s(
    policy: Policy,
    load_per_s: float,
    downstream: Downstream,
    *,
    longest_s: float,
    after_s: float,
    step_s: float,
    within_s: float = 0.5,
) -> float:
    """Return the shortest outage after which the mean field stays collapsed, to `within_s`; inf up to `longest_s`.

    The tipping point on the axis of outages; below `hidden_capacity_per_s` there is none on either axis. Derived here,
    by bisection over `mean_field`. 0 where the load is more than the downstream serves.
    """
    if regime(load_per_s, downstream, policy.max_retries) == "overloaded":
        return 0.0
    if regime(load_per_s, downstream, policy.max_retries) == "stable":
        return math.inf

    def tips(outage_s: float) -> bool:
        ran = mean_field(policy, load_per_s, downstream, outage_s=outage_s, after_s=after_s, step_s=step_s)
        return collapses(ran, load_per_s)

    if not tips(longest_s):
        return math.inf
    low_s, high_s = 0.0, longest_s
    while high_s - low_s > within_s:
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (low_s, middle_s) if tips(middle_s) else (middle_s, high_s)
    return high_s


class _Fluid:
    """The state of one mean-field run; a parcel is an array with the mass of each attempt number."""

    def __init__(
        self, policy: Policy, load_per_s: float, downstream: Downstream, outage_s: float, end_s: float, step_s: float
    ) -> None:
        self.down = downstream
        self.step_s = step_s
        self.steps = math.ceil(end_s / step_s)
        self.outage_steps = round(outage_s / step_s)
        self.endless = policy.max_retries is None
        self.kinds = ENDLESS if policy.max_retries is None else policy.max_retries + 1
        self.new = load_per_s * step_s
        self.lags = _lags(policy, self.kinds, step_s, self.steps)
        # What becomes due, and how many slots become free, at each step.
        self.due = np.zeros((self.steps + 1, self.kinds))
        self.freed = np.zeros(self.steps + 1)
        self.fifo: deque[NDArray[np.float64]] = deque()
        self.busy = self.waiting = self.queued = self.in_backoff = self.extinct = 0.0

    def run(self) -> pd.DataFrame:
        import pandas as pd

        rows = [self._step(step) for step in range(self.steps)]
        columns = ["attempts_per_s", "goodput_per_s", "queued", "waiting", "in_backoff", "extinct"]
        index = pd.Index(np.round(np.arange(self.steps) * self.step_s, 9), name="t_s")
        return pd.DataFrame(rows, index=index, columns=columns)

    def _step(self, step: int) -> tuple[float, ...]:
        self.busy -= self.freed[step]
        arriving = self.due[step]
        self.in_backoff -= float(arriving.sum())
        arriving[0] += self.new
        self.queued += float(arriving.sum())
        self.fifo.append(arriving)
        calls = self._dispatch()
        made = float(calls.sum())
        good = self._call(step, calls, made)
        return made / self.step_s, good / self.step_s, self.queued, self.waiting, self.in_backoff, self.extinct

    def _dispatch(self) -> NDArray[np.float64]:
        """Take from the queue, in order, what free slots there are for."""
        calls, room = np.zeros(self.kinds), self.down.slots - self.busy
        while self.fifo and room > 1e-12:
            parcel = self.fifo.popleft()
            mass = float(parcel.sum())
            if mass > room:
                self.fifo.appendleft(parcel * (1 - room / mass))
                parcel, mass = parcel * (room / mass), room
            calls, room = calls + parcel, room - mass
        self.queued = max(0.0, self.queued - float(calls.sum()))
        return calls

    def _call(self, step: int, calls: NDArray[np.float64], made: float) -> float:
        """Let the calls of one step go well or fail; return the mass that goes well."""
        down = self.down
        served = down.capacity_per_s * self.step_s
        if step < self.outage_steps:
            self.waiting = max(0.0, self.waiting - served)
            self._fail(step, calls, down.fail_s)
            return 0.0
        taken = min(1.0, max(0.0, down.queue + served - self.waiting) / made) if made else 1.0
        answer_s = self.waiting / down.capacity_per_s + down.service_s
        self.waiting = max(0.0, self.waiting + taken * made - served)
        if taken < 1:
            self._fail(step, calls * (1 - taken), down.fail_s)
        if answer_s > down.timeout_s:
            self._fail(step, calls * taken, down.timeout_s)
            return 0.0
        self._hold(step, made * taken, answer_s)
        return made * taken

    def _hold(self, step: int, mass: float, for_s: float) -> int:
        """Keep slots busy for a while; return the step at which they are free."""
        until = min(self.steps, step + max(1, round(for_s / self.step_s)))
        self.busy += mass
        self.freed[until] += mass
        return until

    def _fail(self, step: int, calls: NDArray[np.float64], after_s: float) -> None:
        failed_at = self._hold(step, float(calls.sum()), after_s)
        for kind in range(self.kinds):
            if kind + 1 == self.kinds and not self.endless:
                self.extinct += float(calls[kind])
                continue
            lags = self.lags[kind][: self.steps + 1 - failed_at]
            self.due[failed_at : failed_at + len(lags), min(kind + 1, self.kinds - 1)] += calls[kind] * lags
            self.in_backoff += float(calls[kind])


def _lags(policy: Policy, kinds: int, step_s: float, steps: int) -> list[NDArray[np.float64]]:
    """Return, per attempt number, the part of its failures that is due after so many steps."""
    points_s = _marginals(policy, kinds)
    places = [np.minimum(np.rint(points / step_s).astype(np.int64), steps + 1) for points in points_s]
    return [np.bincount(place, minlength=2)[: steps + 2] / len(place) for place in places]


def _marginals(policy: Policy, kinds: int) -> list[NDArray[np.float64]]:
    """Return points that stand for the delay after each attempt number."""
    if not policy.needs_previous:
        return [equal_points(policy, retry) for retry in range(1, kinds + 1)]
    rng, previous_s = np.random.default_rng(1), None
    points_s: list[NDArray[np.float64]] = []
    for retry in range(1, kinds + 1):
        previous_s = policy.delays(retry, rng, 2**14, previous_s)
        points_s.append(previous_s)
    return points_s
