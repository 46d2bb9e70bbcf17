"""What a queue with retries does in the long run: the same numbers measured over a window, and predicted on paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_sim.analysis.queue_theory import RetryQueue
from tem_sim.analysis.retry_theory import retry_horizon
from tem_sim.scenario.arrivals import Poisson
from tem_sim.scenario.distributions import Exponential

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.scenario.models import Scenario

    Times = NDArray[np.float64]

# Relaxation times after which what is left of an empty start is e^−4, 2 % of it.
RELAXATIONS = 4


class Measure(NamedTuple):
    """One number of the long run: what it is, and what the product form says of it."""

    about: str
    predicted: Callable[[RetryQueue], float]


class Window(NamedTuple):
    """From when to when it is measured: after the warm-up, until arrivals stop."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        return self.to_s - self.from_s

    def inside(self, times_s: Times) -> Times:
        """Return the times, those outside moved to the window's edge."""
        return np.clip(times_s, self.from_s, self.to_s)


MEASURES: dict[str, Measure] = {
    "attempts_per_event": Measure("attempts per event", lambda form: form.attempts_per_event),
    "p_extinct": Measure("part of the events that end EXTINCT", lambda form: form.p_extinct),
    "utilisation": Measure("part of the slots' time in use", lambda form: form.attempts.utilisation),
    "all_busy": Measure("part of the time in which no slot is free", lambda form: form.attempts.wait_probability),
    "queued": Measure("mean rows QUEUED", lambda form: form.attempts.queued),
    "in_system": Measure("mean rows QUEUED or PROCESSING", lambda form: form.attempts.in_system),
    "in_backoff": Measure("mean rows FAILED, waiting out their delay", lambda form: form.in_backoff),
    "backoff_variance": Measure("variance of the rows FAILED; Poisson, so its mean", lambda form: form.in_backoff),
    "time_to_end_s": Measure("mean time from submit to PROCESSED or EXTINCT", lambda form: form.time_to_end_s),
}


def form_of(scenario: Scenario, *, polled: bool = True) -> RetryQueue:
    """Return the product form that describes a scenario's steady state; `polled` adds half a tick to each delay.

    What becomes due between two ticks waits for the next: half a period on average, where the period is short against
    what spreads the due times (service and jitter). ValueError for arrivals or service times of another law.
    """
    (arrivals,), service = scenario.arrivals, scenario.handler.service_time
    if not isinstance(arrivals, Poisson) or not isinstance(service, Exponential):
        raise ValueError(f"{scenario.name}: needs Poisson arrivals and exponential service times")
    return RetryQueue(
        arrival_per_s=arrivals.rate_per_s,
        service_s=service.mean_s,
        servers=scenario.workers.count * scenario.workers.concurrency,
        failure=scenario.handler.failure_rate,
        policy=scenario.policy(),
        lag_s=scenario.beat.retry_every_s / 2 if polled else 0.0,
    )


def predicted(form: RetryQueue) -> dict[str, float]:
    """Return what the product form says each measure is."""
    return {name: measure.predicted(form) for name, measure in MEASURES.items()}


def warm_up_s(form: RetryQueue) -> float:
    """Return how long an empty start is remembered: four relaxation times of the queue, or the longest chain of delays.

    M/M/c forgets with 1/(√(c·μ) − √λ)² seconds (Morse 1955, "Stochastic properties of waiting lines", Oper. Res. 3),
    and no faster than a service.
    """
    queue = form.attempts
    spare = math.sqrt(queue.servers / queue.service_s) - math.sqrt(queue.arrival_per_s)
    return max(RELAXATIONS * max(queue.service_s, 1 / spare**2), retry_horizon(form.policy).max_s)


def measured(attempts: pd.DataFrame, form: RetryQueue, window: Window) -> dict[str, float]:
    """Return every measure of a table of attempts (`ideal_queue`, `attempts_as_logged`) over a window.

    Rows are averaged over time; events count where they were submitted within the window, each whole. The variance is
    about the mean that the form predicts, so that a window too short to know its own mean is no less spread out.
    """
    event, queued_s, begun_s, ended_s = (
        attempts[name].to_numpy() for name in ("event_id", "queued_s", "begun_s", "ended_s")
    )
    first = np.append(True, event[1:] != event[:-1])
    last = np.append(first[1:], True)
    # What follows a failure, if anything does: the row waits from its end to its next place in the queue.
    failed_s, due_s = ended_s[~last], queued_s[~first]
    counts = (queued_s[first] >= window.from_s) & (queued_s[first] < window.to_s)
    tries = np.diff(np.append(np.flatnonzero(first), len(event)))
    busy = _spent_s(begun_s, ended_s, window)
    queued = _spent_s(queued_s, begun_s, window)
    mean = form.in_backoff
    return {
        "attempts_per_event": float(tries[counts].mean()),
        "p_extinct": float(attempts["failed"].to_numpy()[last][counts].mean()),
        "utilisation": busy / window.length_s / form.attempts.servers,
        "all_busy": _over_time(begun_s, ended_s, window, lambda rows: rows >= form.attempts.servers),
        "queued": queued / window.length_s,
        "in_system": (queued + busy) / window.length_s,
        "in_backoff": _spent_s(failed_s, due_s, window) / window.length_s,
        "backoff_variance": _over_time(failed_s, due_s, window, lambda rows: (rows - mean) ** 2),
        "time_to_end_s": float((ended_s[last] - queued_s[first])[counts].mean()),
    }


def window_of(scenario: Scenario) -> Window:
    """Return from when to when a scenario is measured: its warm-up cut off, up to its last arrivals."""
    (arrivals,) = scenario.arrivals
    until_s = arrivals.until_s if isinstance(arrivals, Poisson) else None
    return Window(warm_up_s(form_of(scenario)), scenario.horizon_s if until_s is None else until_s)


def _spent_s(starts_s: Times, ends_s: Times, window: Window) -> float:
    return float((window.inside(ends_s) - window.inside(starts_s)).sum())


def _over_time(starts_s: Times, ends_s: Times, window: Window, of: Callable[[Times], NDArray[Any]]) -> float:
    """Return the time average of a function of how many intervals hold at once."""
    times_s = np.concatenate([window.inside(starts_s), window.inside(ends_s), [window.to_s]])
    change = np.concatenate([np.ones(len(starts_s)), -np.ones(len(ends_s)), [0.0]])
    order = np.argsort(times_s, kind="stable")
    level = np.cumsum(change[order])[:-1]
    spent_s = np.diff(times_s[order])
    # Before the first change nothing holds; the window begins at it or before.
    empty_s = float(times_s[order][0]) - window.from_s
    return float((of(level) @ spent_s + of(np.zeros(1))[0] * empty_s) / window.length_s)
