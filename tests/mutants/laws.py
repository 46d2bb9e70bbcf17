"""The retry policies against formulas written down once more, without the code that is tested.

`policy_law`: what a policy draws, says of its support and its moments, and when it gives up. `jitter_spread`: events
that fail together do not wait alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_UNIFORMS = (0.0, 0.1, 0.5, 0.9, 1 - 2**-53)
_RETRIES = (1, 2, 3, 4, 7, 60)
_MAX_S = 10 * 365 * 86_400.0


class _Dealt:
    """A stream that deals one uniform, over and over."""

    def __init__(self, uniform: float) -> None:
        self._uniform = uniform

    def random(self) -> float:
        return self._uniform


@dataclass(frozen=True)
class _Law:
    """A growth as its law says, and the least and most that jitter makes of a wait."""

    growth: Any
    value: Any


def _laws() -> list[_Law]:
    from tem_sim.pipeline import growth

    listed = (1.0, 5.0, 7.0)
    return [
        _Law(growth.Exponential(10.0), lambda k: 10.0 * 2.0 ** min(k - 1, 500)),
        _Law(growth.Exponential(1.0, 3.0), lambda k: 3.0 ** min(k - 1, 400)),
        _Law(growth.Fixed(4.0), lambda k: 4.0),
        _Law(growth.Linear(5.0), lambda k: 5.0 * k),
        _Law(growth.Linear(5.0, 2.0), lambda k: 5.0 + 2.0 * (k - 1)),
        _Law(growth.Polynomial(2.0, 3.0), lambda k: 2.0 * k**3),
        _Law(growth.Fibonacci(3.0), lambda k: 3.0 * _fibonacci(k)),
        _Law(growth.Explicit(listed), lambda k: listed[min(k, 3) - 1]),
    ]


def _fibonacci(k: int) -> int:
    return round(((1 + math.sqrt(5)) / 2) ** k / math.sqrt(5))


def _jitters() -> list[tuple[Any, Any, Any]]:
    from tem_sim.pipeline import jitter

    return [
        (jitter.NoJitter(), lambda v: v, lambda v: v),
        (jitter.Full(), lambda v: 0.0, lambda v: v),
        (jitter.Equal(), lambda v: v / 2, lambda v: v),
        (jitter.Additive(2.5), lambda v: v, lambda v: v + 2.5),
        (jitter.Proportional(0.25), lambda v: 0.75 * v, lambda v: 1.25 * v),
    ]


def policy_law() -> str | None:
    """Say where a policy is not what its law says; None where none is."""
    found = next(_broken_laws(), None) or next(_broken_decorrelated(), None) or next(_broken_limits(), None)
    return found or next(_broken_presets(), None)


def _broken_laws() -> Iterator[str]:
    from tem_sim.pipeline.backoff import Backoff

    for law in _laws():
        for jitter, low, high in _jitters():
            for cap_s, after in ((None, False), (20.0, False), (20.0, True)):
                policy = Backoff(law.growth, jitter, cap_s=cap_s, cap_after_jitter=after, max_retries=None)
                for k in _RETRIES:
                    bare = min(law.value(k), _MAX_S)
                    value = bare if cap_s is None or after else min(cap_s, bare)
                    ends = low(value), min(high(value), _MAX_S)
                    if cap_s is not None and after:
                        ends = min(ends[0], cap_s), min(ends[1], cap_s)
                    yield from _wrong(
                        f"{policy}, retry {k}", policy, k, ends, None if after else low(value), high(value)
                    )


def _wrong(what: str, policy: Any, k: int, ends: tuple[float, float], low: float | None, high: float) -> Iterator[str]:
    """Compare support and draws with an interval, and with the line between its ends where nothing is clipped."""
    if not _near(policy.support(k), ends):
        yield f"{what}: support {policy.support(k)}, by its law {ends}"
    for u in _UNIFORMS:
        delay_s = policy.delay(k, _Dealt(u))
        if not ends[0] * (1 - 1e-9) <= delay_s <= ends[1] * (1 + 1e-9):
            yield f"{what}: {delay_s} s at {u}, by its law within {ends}"
        if low is not None and high < _MAX_S and not math.isclose(delay_s, low + u * (high - low), rel_tol=1e-9):
            yield f"{what}: {delay_s} s at {u}, by its law {low + u * (high - low)} s"
    if low is not None and high < _MAX_S and not math.isclose(policy.mean_s(k), (low + high) / 2, rel_tol=1e-9):
        yield f"{what}: mean {policy.mean_s(k)} s, by its law {(low + high) / 2} s"


def _near(found: tuple[float, float], expected: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(found, expected, strict=True))


def _broken_decorrelated() -> Iterator[str]:
    from tem_sim.pipeline.backoff import Backoff, Decorrelated, Fixed

    for cap_s, after in ((None, False), (20.0, False), (20.0, True)):
        policy = Backoff(Fixed(2.0), Decorrelated(3.0), cap_s=cap_s, cap_after_jitter=after, max_retries=None)
        for previous_s in (0.5, 2.0, 5.0, 15.0):
            reach = max(2.0, 3.0 * previous_s)
            cap = math.inf if cap_s is None else cap_s
            high = reach if after else min(cap, reach)
            for u in _UNIFORMS:
                expected = min(cap, 2.0 + u * (high - 2.0))
                delay_s = policy.delay(3, _Dealt(u), previous_s)
                if not math.isclose(delay_s, expected, rel_tol=1e-9):
                    yield f"{policy} after {previous_s} s: {delay_s} s at {u}, by its law {expected} s"


def _broken_limits() -> Iterator[str]:
    from tem_sim.pipeline.backoff import Backoff

    policy = Backoff(max_retries=3, budget_s=100.0)
    for failures, elapsed_s, next_s, over in (
        (1, 0.0, 10.0, False),
        (3, 0.0, 40.0, False),
        (4, 0.0, 80.0, True),
        (2, 80.0, 20.0, False),
        (2, 80.0, 20.1, True),
        (2, 100.5, 0.0, True),
    ):
        if policy.gives_up(failures, elapsed_s, next_s) is not over:
            yield f"after {failures} of 3 retries and {elapsed_s} of 100 s it gives up: {not over}"


# The first four delays at the least, the middle and the greatest chance, as the systems' own sources have them.
_PRESETS: dict[str, Any] = {
    "sidekiq": lambda k, u: (k - 1) ** 4 + 15 + int(u * 10 * k),
    "river": lambda k, u: k**4 * (0.9 + 0.2 * u),
    "temporal": lambda k, u: min(2.0 ** (k - 1), 100.0),
    "aws-full": lambda k, u: u * min(60, 2 ** (k - 1)),
    "aws-equal": lambda k, u: min(60, 2 ** (k - 1)) * (0.5 + u / 2),
    "grpc": lambda k, u: min(0.1 * 2 ** (k - 1), 1.0) * (0.8 + 0.4 * u),
    "pubsub": lambda k, u: min(600.0, 10.0 * 2 ** (k - 1)),
    "graphile-worker": lambda k, u: math.exp(min(k, 10)),
    "stamina": lambda k, u: min(5.0, 0.1 * 2 ** (k - 1) + u),
    "taskiq": lambda k, u: min(60.0, 5.0 * k) + u,
}


def _broken_presets() -> Iterator[str]:
    from tem_sim.pipeline.presets import PRESETS

    for name, formula in _PRESETS.items():
        for k in range(1, 13):
            for u in _UNIFORMS[:4]:
                delay_s = PRESETS[name].policy.delay(k, _Dealt(u))
                if not math.isclose(delay_s, formula(k, u), rel_tol=1e-9, abs_tol=1e-12):
                    yield f"preset {name}, retry {k}: {delay_s} s at {u}, by its source {formula(k, u)} s"


_EVENTS = 300


def jitter_spread(seed: int) -> str | None:
    """Say whether the delays of events that fail at the same time are not spread as the policy says.

    By Kolmogorov and Smirnov at a level that no honest run in a million meets.
    """
    from scipy import stats

    from tem_sim.pipeline.backoff import Backoff, Exponential, Full
    from tem_sim.pipeline.ports import ClaimedEvent
    from tem_sim.pipeline.settings import Settings
    from tem_sim.pipeline.settle import Outcome, decide
    from tem_sim.scenario.streams import Streams

    settings, chance = Settings(policy=Backoff(Exponential(10.0), Full())), Streams(seed)
    rows = [ClaimedEvent(n, 3, 2, 0, 1, 5.0, 1, "normal", "{}", 0.0) for n in range(1, _EVENTS + 1)]
    delays_s = [decide(Outcome(row, 100.0, 101.0, "boom"), 3, settings, chance).delay_s for row in rows]
    p = float(stats.kstest(delays_s, stats.uniform(0, 40).cdf).pvalue)
    return f"the delays of {_EVENTS} events are not spread evenly over 0 to 40 s (p = {p:.1g})" if p < 1e-6 else None
