"""Retry formulas of other systems that growth × jitter × cap cannot express, quirks included.

Each class is one formula with its system's own parameters; `presets` gives each its name and source. Where a
library draws with `random.uniform`, the arithmetic here is the same to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tem_sim.pipeline.backoff import Drawn
from tem_sim.pipeline.bounds import (
    MAX_DELAY_S,
    count,
    limits,
    retry_number,
    saturate,
    seconds,
    several_seconds,
    within,
)
from tem_sim.pipeline.growth import Exponential
from tem_sim.pipeline.spread import Floored, Spread, Uniform


@dataclass(frozen=True, slots=True)
class CeleryAutoretry(Drawn):
    """randrange(min(cap, int(factor)·2^(k−1)) + 1): whole seconds, 0 possible.

    `retry_backoff` and `retry_backoff_max` are truncated to whole numbers, the former to at least 1.
    """

    retry_backoff: float = 1.0
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    max_retries: int | None = 3
    budget_s: float | None = None
    name: str = "celery-autoretry"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "retry_backoff", seconds("CeleryAutoretry.retry_backoff", self.retry_backoff))
        _set(self, "retry_backoff_max", seconds("CeleryAutoretry.retry_backoff_max", self.retry_backoff_max))

    @property
    def draws(self) -> int:
        return int(self.retry_jitter)

    @property
    def formula(self) -> str:
        bare = f"min({int(self.retry_backoff_max)}, {self._factor}·2^(k−1))"
        return f"randrange({bare} + 1)" if self.retry_jitter else bare

    @property
    def _factor(self) -> int:
        return int(max(1.0, self.retry_backoff))

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        grown = Exponential(float(self._factor)).value_s(retry)
        countdown = math.floor(min(float(int(self.retry_backoff_max)), grown))
        return Floored(0.0, countdown + 1.0) if self.retry_jitter else Uniform(float(countdown))


@dataclass(frozen=True, slots=True)
class Sidekiq(Drawn):
    """count⁴ + 15 + rand(10·(count + 1)) with count = k−1: whole seconds."""

    max_retries: int | None = 25
    budget_s: float | None = None
    name: str = "sidekiq"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)

    @property
    def formula(self) -> str:
        return "(k−1)^4 + 15 + randrange(10·k)"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        tries = min(retry_number(retry) - 1, 10**6)  # Past a million the ceiling is reached anyway.
        return Floored(saturate(tries**4 + 15.0), 10.0 * (tries + 1), clip=MAX_DELAY_S)


@dataclass(frozen=True, slots=True)
class Oban(Drawn):
    """t + trunc(U(0, 0.1·t)) with t = 15 + 2^k; k is scaled to 20 attempts when more are allowed."""

    max_retries: int | None = 19
    budget_s: float | None = None
    name: str = "oban"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)

    @property
    def formula(self) -> str:
        attempts = self._max_attempts
        scaled = "k" if attempts <= 20 else f"round(20·k/{attempts})"
        return f"t + trunc(U(0, 0.1·t)), t = 15 + 2^{scaled}"

    @property
    def _max_attempts(self) -> int:
        """Oban has no endless retries; None here means its default curve."""
        return 20 if self.max_retries is None else self.max_retries + 1

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        power = min(retry_number(retry), 10**6)
        if self._max_attempts > 20:
            power = math.floor(power / self._max_attempts * 20 + 0.5)  # Elixir rounds halves away from zero.
        time_s = saturate(15.0 + Exponential(1.0).value_s(power + 1))
        return Floored(time_s, 0.1 * time_s, clip=MAX_DELAY_S)


@dataclass(frozen=True, slots=True)
class PgBoss(Drawn):
    """min(delay_max, max(1, delay)·(h + h·U(0, 1))) with h = 2^min(16, k)/2."""

    retry_delay_s: float = 1.0
    retry_delay_max_s: float | None = None
    max_retries: int | None = 2
    budget_s: float | None = None
    name: str = "pg-boss"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "retry_delay_s", seconds("PgBoss.retry_delay_s", self.retry_delay_s))
        if self.retry_delay_max_s is not None:
            top_s = seconds("PgBoss.retry_delay_max_s", self.retry_delay_max_s)
            _set(self, "retry_delay_max_s", top_s)

    @property
    def formula(self) -> str:
        bare = f"{max(1.0, self.retry_delay_s):g}·(h + h·U(0, 1))"
        top_s = self.retry_delay_max_s
        return f"{bare if top_s is None else f'min({top_s:g}, {bare})'}, h = 2^min(16, k)/2"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        half_s = saturate(max(1.0, self.retry_delay_s) * 2.0 ** (min(16, retry_number(retry)) - 1))
        top_s = MAX_DELAY_S if self.retry_delay_max_s is None else self.retry_delay_max_s
        return Uniform(half_s, half_s, top_s)


@dataclass(frozen=True, slots=True)
class Huey(Drawn):
    """delay·backoff^(k−1); a delay of 0 stays 0 however large the backoff, and a backoff of 0 is none."""

    retry_delay_s: float = 10.0
    retry_backoff: float = 2.0
    max_retries: int | None = 3
    budget_s: float | None = None
    name: str = "huey"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "retry_delay_s", seconds("Huey.retry_delay_s", self.retry_delay_s))
        _set(self, "retry_backoff", within("Huey.retry_backoff", self.retry_backoff, 0, math.inf, 2))

    @property
    def draws(self) -> int:
        return 0

    @property
    def formula(self) -> str:
        return f"{self.retry_delay_s:g}" + (f"·{self.retry_backoff:g}^(k−1)" if self.retry_backoff else "")

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        """Multiply step by step, as huey does on the task, so that roundings agree."""
        delay_s, steps = self.retry_delay_s, retry_number(retry) - 1
        if self.retry_backoff in (0.0, 1.0) or delay_s == 0:
            return Uniform(delay_s)
        while steps and 0 < delay_s < MAX_DELAY_S:
            delay_s, steps = delay_s * self.retry_backoff, steps - 1
        return Uniform(saturate(delay_s))


@dataclass(frozen=True, slots=True)
class Rq(Drawn):
    """intervals[max(len − retries left, 0)]: with more retries than intervals the *first* is repeated.

    rq itself always counts. Without a limit there are always more retries left than intervals, and with a limit of 0
    there are none.
    """

    intervals_s: tuple[float, ...] = (10.0, 30.0, 60.0)
    max_retries: int | None = 5
    budget_s: float | None = None
    name: str = "rq"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "intervals_s", several_seconds("Rq.intervals_s", self.intervals_s))

    @property
    def draws(self) -> int:
        return 0

    @property
    def formula(self) -> str:
        if self.max_retries is None:
            return f"{self.intervals_s[0]:g}"
        listed = ", ".join(f"{delay_s:g}" for delay_s in self.intervals_s)
        return f"[{listed}][max(0, {len(self.intervals_s)} − {self.max_retries} + k − 1)]"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        """Past its last retry rq books nothing; the last interval stands in there."""
        number, most = retry_number(retry), len(self.intervals_s)
        left = most if self.max_retries is None else max(1, self.max_retries - (number - 1))
        return Uniform(self.intervals_s[max(most - left, 0)])


@dataclass(frozen=True, slots=True)
class Procrastinate(Drawn):
    """wait + linear·(k−1) + exponential^k: an exponential wait of 1 adds one second, of 0 nothing."""

    wait_s: float = 0.0
    linear_wait_s: float = 0.0
    exponential_wait: float = 5.0
    max_retries: int | None = 10
    budget_s: float | None = None
    name: str = "procrastinate"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "wait_s", seconds("Procrastinate.wait_s", self.wait_s))
        _set(self, "linear_wait_s", seconds("Procrastinate.linear_wait_s", self.linear_wait_s))
        power = within("Procrastinate.exponential_wait", self.exponential_wait, 0, math.inf, 5)
        _set(self, "exponential_wait", power)

    @property
    def draws(self) -> int:
        return 0

    @property
    def formula(self) -> str:
        return f"{self.wait_s:g} + {self.linear_wait_s:g}·(k−1) + {self.exponential_wait:g}^k"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        k = min(retry_number(retry), 2**53)
        try:
            wait_s = self.wait_s + self.linear_wait_s * (k - 1) + self.exponential_wait**k
        except OverflowError:
            wait_s = math.inf
        return Uniform(saturate(wait_s))


@dataclass(frozen=True, slots=True)
class Urllib3(Drawn):
    """0 before the first retry, then min(backoff_max, factor·2^(k−1) + U(0, jitter))."""

    backoff_factor: float = 0.1
    backoff_max_s: float = 120.0
    backoff_jitter_s: float = 0.0
    max_retries: int | None = 10
    budget_s: float | None = None
    name: str = "urllib3"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        for field in ("backoff_factor", "backoff_max_s", "backoff_jitter_s"):
            _set(self, field, seconds(f"Urllib3.{field}", getattr(self, field)))

    @property
    def draws(self) -> int:
        return int(self.backoff_jitter_s > 0)

    @property
    def formula(self) -> str:
        jitter = f" + U(0, {self.backoff_jitter_s:g})" if self.backoff_jitter_s else ""
        return f"0 if k = 1 else min({self.backoff_max_s:g}, {self.backoff_factor:g}·2^(k−1){jitter})"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        if retry_number(retry) == 1:
            return Uniform(0.0)
        value_s = Exponential(self.backoff_factor).value_s(retry) if self.backoff_factor else 0.0
        return Uniform(value_s, self.backoff_jitter_s, self.backoff_max_s)


@dataclass(frozen=True, slots=True)
class GrpcConnection(Drawn):
    """base before the first reconnect, unjittered, then min(max, base·factor^(k−1))·U(1−jitter, 1+jitter)."""

    base_s: float = 1.0
    factor: float = 1.6
    jitter: float = 0.2
    max_s: float = 120.0
    max_retries: int | None = None
    budget_s: float | None = None
    name: str = "grpc-connection"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        _set(self, "base_s", seconds("GrpcConnection.base_s", self.base_s, above=0))
        _set(self, "factor", within("GrpcConnection.factor", self.factor, 1, math.inf, 1.6))
        _set(self, "jitter", within("GrpcConnection.jitter", self.jitter, 0, 1, 0.2))
        _set(self, "max_s", seconds("GrpcConnection.max_s", self.max_s, above=0))

    @property
    def formula(self) -> str:
        later = f"min({self.max_s:g}, {self.base_s:g}·{self.factor:g}^(k−1))"
        return f"{self.base_s:g} if k = 1 else {later}·U({1 - self.jitter:g}, {1 + self.jitter:g})"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        if retry_number(retry) == 1:
            return Uniform(self.base_s)
        value_s = min(self.max_s, Exponential(self.base_s, self.factor).value_s(retry))
        return Uniform(value_s * (1 - self.jitter), value_s * 2 * self.jitter, MAX_DELAY_S)


@dataclass(frozen=True, slots=True)
class Resilience4j(Drawn):
    """i·U(1−f, 1+f) in whole milliseconds; the interval i too is truncated, at each multiplication."""

    initial_ms: int = 500
    multiplier: float = 1.5
    randomization: float = 0.5
    max_ms: int | None = None
    max_retries: int | None = 2
    budget_s: float | None = None
    name: str = "resilience4j"

    def __post_init__(self) -> None:
        _check_limits(self, self.max_retries, self.budget_s)
        count("Resilience4j.initial_ms", self.initial_ms, least=1)
        _set(self, "multiplier", within("Resilience4j.multiplier", self.multiplier, 1, math.inf, 1.5))
        _set(self, "randomization", within("Resilience4j.randomization", self.randomization, 0, 1, 0.5))
        if self.max_ms is not None:
            count("Resilience4j.max_ms", self.max_ms, least=1)

    @property
    def formula(self) -> str:
        bare = f"trunc(i·U({1 - self.randomization:g}, {1 + self.randomization:g}))"
        capped = bare if self.max_ms is None else f"min({self.max_ms}, {bare})"
        return f"{capped}/1000, i = {self.initial_ms}·{self.multiplier:g}^(k−1) truncated at each step"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        top_ms = MAX_DELAY_S * 1000 if self.max_ms is None else float(min(self.max_ms, MAX_DELAY_S * 1000))
        interval_ms = float(self._interval_ms(retry_number(retry)))
        delta_ms = self.randomization * interval_ms
        low_ms = interval_ms - delta_ms
        return Floored(low_ms, (interval_ms + delta_ms) - low_ms, 1000.0, top_ms)

    def _interval_ms(self, retry: int) -> int:
        """Iterate as the library does, until truncation or the ceiling holds the interval still."""
        interval_ms, ceiling_ms = self.initial_ms, MAX_DELAY_S * 1000
        for _ in range(retry - 1):
            grown_ms = min(interval_ms * self.multiplier, ceiling_ms)
            if int(grown_ms) == interval_ms:
                break
            interval_ms = int(grown_ms)
        return int(min(interval_ms, ceiling_ms))


def _set(policy: object, field: str, value: object) -> None:
    """Normalise a field of a frozen policy while it is being made."""
    object.__setattr__(policy, field, value)


def _check_limits(policy: Drawn, max_retries: int | None, budget_s: float | None) -> None:
    retries, budget_s = limits(type(policy).__name__, max_retries, budget_s)
    _set(policy, "max_retries", retries)
    _set(policy, "budget_s", budget_s)
