"""How chance spreads a wait of v seconds: each jitter is one interval, and the delay is uniform on it.

An interval is returned as (low, width) rather than (low, high), because low + width·u is the arithmetic of
`random.uniform` and of every library reproduced in `presets`, to the last bit.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from tem_sim.pipeline.bounds import seconds, within


class Jitter(Protocol):
    """A way to spread a wait."""

    @property
    def draws(self) -> int:
        """How many uniforms one delay takes from the stream; the same for every retry."""

    @property
    def formula(self) -> str:
        """The spread in one line, with v for the wait before jitter and empty for none."""

    def interval_s(self, value_s: float) -> tuple[float, float]:
        """Return (low, width) of the interval that the delay is uniform on."""


@dataclass(frozen=True, slots=True)
class NoJitter:
    """Wait exactly v: everything that failed together retries together."""

    draws: ClassVar[int] = 0
    formula: ClassVar[str] = ""

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return value_s, 0.0


@dataclass(frozen=True, slots=True)
class Additive:
    """Wait v + U(0, width): the seed formula base·2^(k−1) + jitter."""

    width_s: float
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "width_s", seconds("Additive.width_s", self.width_s))

    @property
    def formula(self) -> str:
        return f"v + U(0, {self.width_s:g})"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return value_s, self.width_s


@dataclass(frozen=True, slots=True)
class Proportional:
    """Wait v ± fraction·v, evenly."""

    fraction: float
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", within("Proportional.fraction", self.fraction, 0, 1, 0.1))

    @property
    def formula(self) -> str:
        return f"v·U({1 - self.fraction:g}, {1 + self.fraction:g})"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return value_s * (1 - self.fraction), value_s * 2 * self.fraction


@dataclass(frozen=True, slots=True)
class Full:
    """Wait U(0, v): the widest spread and half the wait (AWS Architecture Blog 2015, "full jitter")."""

    draws: ClassVar[int] = 1
    formula: ClassVar[str] = "U(0, v)"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return 0.0, value_s


@dataclass(frozen=True, slots=True)
class Equal:
    """Wait v/2 + U(0, v/2): never less than half (AWS Architecture Blog 2015, "equal jitter")."""

    draws: ClassVar[int] = 1
    formula: ClassVar[str] = "v/2 + U(0, v/2)"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return value_s / 2, value_s / 2


@dataclass(frozen=True, slots=True)
class Decorrelated:
    """Wait U(base, factor·previous): base is the growth's first value, previous this event's last delay.

    The growth's later values play no part: the previous delay is what grows. The previous delay belongs to
    the event and is handed in with each call; the value here is shared by all events and remembers nothing.

    With a cap c the delay is drawn from U(base, min(c, factor·previous)), which leaves no mass at c. The
    better-known min(c, U(base, factor·previous)) (AWS Architecture Blog 2015) is not the default: of the
    delays that follow one of c, two in three are c again, so that a third of all late delays are exactly c
    (for c = 60·base) and the retries that jitter was to spread are in step once more. It is there as the
    preset aws-decorrelated, which is `Backoff(..., cap_after_jitter=True)`.
    """

    factor: float = 3.0
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", within("Decorrelated.factor", self.factor, 1, 1e6, 3))

    @property
    def formula(self) -> str:
        return f"U(base, {self.factor:g}·previous)"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        """Return the interval of the first retry, whose previous delay is taken to be the base."""
        return value_s, value_s * self.factor - value_s

    def top_s(self, base_s: float, retry: int) -> float:
        """Return base·factor^k, the largest delay that retry k could reach without a cap; may be inf."""
        try:
            return base_s * self.factor ** min(retry, 2**53)
        except OverflowError:
            return float("inf")

    def moments_s(self, base_s: float, retry: int) -> tuple[float, float]:
        """Return mean and variance at retry k without a cap, by the recursion over the previous delay.

        From U(b, f·p): E[d] = (b + f·E[p])/2 and E[d²] = (b² + b·f·E[p] + f²·E[p²])/3, starting from p = b.
        For f = 3 the mean is b·(2·1.5^k − 1).
        """
        mean, square = base_s, base_s * base_s
        for _ in range(retry):
            square = (base_s * base_s + base_s * self.factor * mean + self.factor**2 * square) / 3
            mean = (base_s + self.factor * mean) / 2
        return mean, max(0.0, square - mean * mean)
