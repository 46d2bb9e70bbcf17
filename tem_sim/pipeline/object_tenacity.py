"""Tenacity's waits and stops as policies: what is computed, term by term, is what the library computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tem_sim.pipeline.backoff import Additive, Backoff, Drawn, Exponential, Fixed, Full, Growth, Linear
from tem_sim.pipeline.bounds import MAX_DELAY_S
from tem_sim.pipeline.composed import AtLeast, Chained, From, Summed

NAME = "tenacity"


class NotMappedError(ValueError):
    """An object that no formula here stands for; `is_known` when it is of a library that is known."""

    def __init__(self, message: str, *, is_known: bool = False) -> None:
        super().__init__(message)
        self.is_known = is_known


def of_tenacity(thing: Any) -> Drawn:
    """Return the policy of a wait, of a `Retrying`, or of a function decorated with `retry`."""
    retrying = getattr(thing, "retry", thing) if callable(thing) and not hasattr(thing, "wait") else thing
    if not hasattr(retrying, "wait") or not hasattr(retrying, "stop"):
        return of_wait(thing)
    max_retries, budget_s = of_stop(retrying.stop)
    found: Drawn = dataclasses.replace(of_wait(retrying.wait), max_retries=max_retries, budget_s=budget_s)  # type: ignore[type-var]
    return found


def of_wait(wait: Any) -> Drawn:
    """Return the policy of a wait alone, which never gives up."""
    make = WAITS.get(type(wait).__name__) if type(wait).__module__ == "tenacity.wait" else None
    if make is None:
        raise NotMappedError(f"tenacity's {_called(wait)} has no formula here", is_known=True)
    return make(wait)


def _called(thing: Any) -> str:
    return getattr(thing, "__name__", None) or type(thing).__name__


def _plain(growth: Growth, cap_s: float | None = None) -> Backoff:
    return Backoff(growth, cap_s=cap_s, max_retries=None, name=NAME)


def _fixed(wait: Any) -> Drawn:
    return _plain(Fixed(wait.wait_fixed))


def _random(wait: Any) -> Drawn:
    least_s, most_s = wait.wait_random_min, wait.wait_random_max
    if most_s < least_s:
        raise NotMappedError(f"tenacity's wait_random from {least_s:g} to {most_s:g} s runs backwards", is_known=True)
    return Backoff(Fixed(least_s), Additive(most_s - least_s), max_retries=None, name=NAME)


def _incrementing(wait: Any) -> Drawn:
    if wait.increment < 0:
        raise NotMappedError(
            "tenacity's wait_incrementing with a negative increment has no formula here", is_known=True
        )
    if wait.max <= wait.start:
        return _plain(Fixed(max(0.0, wait.max)))
    return _plain(Linear(wait.start, wait.increment), _cap_s(wait.max))


def _growth(wait: Any) -> tuple[Growth, float | None]:
    """Return the growth of an exponential wait and its cap; the floor wins over the cap, as it does there."""
    if not wait.exp_base >= 1:
        raise NotMappedError(f"tenacity's exp_base must be at least 1, got {wait.exp_base!r}", is_known=True)
    least_s = max(0.0, wait.min)
    growth: Growth = Exponential(wait.multiplier, wait.exp_base) if wait.multiplier > 0 else Fixed(0.0)
    if least_s:
        growth = AtLeast(growth, least_s)
    top_s = max(wait.max, least_s)
    return (growth, _cap_s(top_s)) if growth.value_s(1) < top_s else (Fixed(top_s), None)


def _cap_s(most_s: float) -> float | None:
    """Return a cap, or none where the library's own is longer than any delay here."""
    return None if most_s > MAX_DELAY_S else float(most_s)


def _exponential(wait: Any) -> Drawn:
    return _plain(*_growth(wait))


def _random_exponential(wait: Any) -> Drawn:
    growth, cap_s = _growth(wait)
    jitter = From(wait.min) if wait.min > 0 else Full()
    return Backoff(growth, jitter, cap_s=cap_s, max_retries=None, name=NAME)


def _exponential_jitter(wait: Any) -> Drawn:
    if wait.exp_base < 1 or wait.multiplier <= 0 or getattr(wait, "min", 0) > wait.multiplier:
        rule = "exp_base >= 1, a multiplier > 0, and a min that the first wait does not fall below"
        raise NotMappedError(f"tenacity's wait_exponential_jitter is mapped for {rule}", is_known=True)
    if wait.max <= wait.multiplier:
        return _plain(Fixed(wait.max))
    growth = Exponential(wait.multiplier, wait.exp_base)
    cap_s = _cap_s(wait.max)
    return Backoff(growth, Additive(wait.jitter), cap_s=cap_s, max_retries=None, name=NAME, cap_after_jitter=True)


def _chain(wait: Any) -> Drawn:
    return Chained(tuple(of_wait(part) for part in wait.strategies), name=NAME)


def _combine(wait: Any) -> Drawn:
    return Summed(tuple(of_wait(part) for part in wait.wait_funcs), name=NAME)


WAITS: dict[str, Callable[[Any], Drawn]] = {
    "wait_fixed": _fixed,
    "wait_none": _fixed,
    "wait_random": _random,
    "wait_incrementing": _incrementing,
    "wait_exponential": _exponential,
    "wait_random_exponential": _random_exponential,
    "wait_exponential_jitter": _exponential_jitter,
    "wait_chain": _chain,
    "wait_combine": _combine,
}


def of_stop(stop: Any) -> tuple[int | None, float | None]:
    """Return the retries and the seconds that a stop allows.

    `stop_after_delay` looks before the wait and lets one more retry begin after its time; here none does.
    """
    name = type(stop).__name__
    if name == "_stop_never":
        return None, None
    if name == "stop_after_attempt":
        return max(0, stop.max_attempt_number - 1), None
    if name in ("stop_after_delay", "stop_before_delay"):
        return None, float(stop.max_delay)
    if name == "stop_any":
        parts = [of_stop(part) for part in stop.stops]
        retries, budgets = ([limit for limit in limits if limit is not None] for limits in zip(*parts, strict=True))
        return min(retries, default=None), min(budgets, default=None)
    raise NotMappedError(f"tenacity's {_called(stop)} has no formula here; say max_retries instead", is_known=True)
