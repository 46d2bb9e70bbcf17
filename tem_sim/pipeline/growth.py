"""How the wait grows from one retry to the next, before any jitter: small frozen values, one per law.

`value_s(retry)` is a pure function of the retry number (1, 2, ...). It never overflows: what would pass
`MAX_DELAY_S` saturates there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tem_sim.pipeline.bounds import retry_number, saturate, seconds, several_seconds, within


class Growth(Protocol):
    """The deterministic part of a backoff."""

    def value_s(self, retry: int) -> float:
        """Return the wait before retry 1, 2, ... in seconds, at most MAX_DELAY_S."""

    @property
    def formula(self) -> str:
        """The law in one line, with k for the retry number."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Wait equally long each time; 0 retries at once."""

    delay_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay_s", seconds("Fixed.delay_s", self.delay_s))

    def value_s(self, retry: int) -> float:
        retry_number(retry)
        return self.delay_s

    @property
    def formula(self) -> str:
        return f"{self.delay_s:g}"


@dataclass(frozen=True, slots=True)
class Linear:
    """Wait base + step·(k−1); without a step the base is repeated, which gives base·k."""

    base_s: float
    step_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_s", seconds("Linear.base_s", self.base_s))
        if self.step_s is not None:
            object.__setattr__(self, "step_s", seconds("Linear.step_s", self.step_s))

    def value_s(self, retry: int) -> float:
        k = retry_number(retry)
        step_s = self.step_s
        if step_s is None:
            return _saturated(lambda: self.base_s * k)
        return _saturated(lambda: self.base_s + step_s * (k - 1))

    @property
    def formula(self) -> str:
        return f"{self.base_s:g}·k" if self.step_s is None else f"{self.base_s:g} + {self.step_s:g}·(k−1)"


@dataclass(frozen=True, slots=True)
class Exponential:
    """Wait base·factor^(k−1)."""

    base_s: float
    factor: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_s", seconds("Exponential.base_s", self.base_s, above=0))
        object.__setattr__(self, "factor", within("Exponential.factor", self.factor, 1, math.inf, 2))

    def value_s(self, retry: int) -> float:
        k = retry_number(retry)
        # A factor of 1 never overflows, however large k is; min keeps k itself convertible to float.
        return _saturated(lambda: self.base_s * self.factor ** min(k - 1, 2**53))

    @property
    def formula(self) -> str:
        return f"{self.base_s:g}·{self.factor:g}^(k−1)"


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Wait base·k^power."""

    base_s: float
    power: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_s", seconds("Polynomial.base_s", self.base_s, above=0))
        object.__setattr__(self, "power", within("Polynomial.power", self.power, 0, math.inf, 2))

    def value_s(self, retry: int) -> float:
        k = retry_number(retry)
        return _saturated(lambda: self.base_s * float(k) ** self.power)

    @property
    def formula(self) -> str:
        return f"{self.base_s:g}·k^{self.power:g}"


@dataclass(frozen=True, slots=True)
class Fibonacci:
    """Wait base·F(k) with F = 1, 1, 2, 3, 5, ..."""

    base_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_s", seconds("Fibonacci.base_s", self.base_s, above=0))

    def value_s(self, retry: int) -> float:
        k = retry_number(retry)
        # F(1500) is past the largest float, so counting further could change nothing.
        before, now = 0, 1
        for _ in range(min(k, 1500) - 1):
            before, now = now, before + now
        return _saturated(lambda: self.base_s * now)

    @property
    def formula(self) -> str:
        return f"{self.base_s:g}·Fibonacci(k)"


@dataclass(frozen=True, slots=True)
class Explicit:
    """Wait as listed, and then as the last entry says for ever after."""

    delays_s: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays_s", several_seconds("Explicit.delays_s", self.delays_s))

    def value_s(self, retry: int) -> float:
        return self.delays_s[min(retry_number(retry), len(self.delays_s)) - 1]

    @property
    def formula(self) -> str:
        return f"[{', '.join(f'{delay_s:g}' for delay_s in self.delays_s)}][k−1], the last repeated"


def _saturated(value_s: Callable[[], float]) -> float:
    """Evaluate a growing formula, taking an overflow of the float range for what it is: past the ceiling."""
    try:
        return saturate(value_s())
    except OverflowError:
        return saturate(math.inf)
