"""Policies made of others, as tenacity's operators make them: one after the other, and one added to the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tem_sim.pipeline.backoff import Drawn
from tem_sim.pipeline.bounds import MAX_DELAY_S, limits, retry_number, saturate, seconds
from tem_sim.pipeline.growth import Growth
from tem_sim.pipeline.spread import Moments, Spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A growth that does not begin below a floor."""

    growth: Growth
    least_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "least_s", seconds("AtLeast.least_s", self.least_s))

    def value_s(self, retry: int) -> float:
        return max(self.least_s, self.growth.value_s(retry))

    @property
    def formula(self) -> str:
        return f"max({self.least_s:g}, {self.growth.formula})"


@dataclass(frozen=True, slots=True)
class From:
    """Wait U(least, v): full jitter above a floor."""

    least_s: float
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "least_s", seconds("From.least_s", self.least_s))

    @property
    def formula(self) -> str:
        return f"U({self.least_s:g}, v)"

    def interval_s(self, value_s: float) -> tuple[float, float]:
        return self.least_s, value_s - self.least_s


@dataclass(frozen=True, slots=True)
class Chained(Drawn):
    """The first policy's delay before retry 1, the second's before retry 2, and the last one's from there on.

    Every delay takes as many uniforms as the part that takes most, so that all retries take the same number.
    """

    parts: tuple[Drawn, ...]
    max_retries: int | None = None
    budget_s: float | None = None
    name: str = "chain"

    def __post_init__(self) -> None:
        _check(self.parts, "Chained", self.max_retries, self.budget_s)

    @property
    def draws(self) -> int:
        return max(part.draws for part in self.parts)

    @property
    def formula(self) -> str:
        return f"the k-th of [{'; '.join(_formula(part) for part in self.parts)}], the last repeated"

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        return self._part(retry).spread(retry, previous_s)

    def mean_s(self, retry: int) -> float:
        return self._part(retry).mean_s(retry)

    def _part(self, retry: int) -> Drawn:
        return self.parts[min(retry_number(retry), len(self.parts)) - 1]


@dataclass(frozen=True, slots=True)
class Summed(Drawn):
    """The sum of the delays of several policies, each with uniforms of its own."""

    parts: tuple[Drawn, ...]
    max_retries: int | None = None
    budget_s: float | None = None
    name: str = "sum"

    def __post_init__(self) -> None:
        _check(self.parts, "Summed", self.max_retries, self.budget_s)

    @property
    def draws(self) -> int:
        return sum(part.draws for part in self.parts)

    @property
    def formula(self) -> str:
        return " + ".join(_formula(part) for part in self.parts)

    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        return Sum(tuple((part.draws, part.spread(retry, previous_s)) for part in self.parts))

    def mean_s(self, retry: int) -> float:
        return saturate(math.fsum(part.mean_s(retry) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of independent delays, each with the number of uniforms that it takes."""

    parts: tuple[tuple[int, Spread], ...]

    def at(self, uniforms: Sequence[float]) -> float:
        total_s, first = 0.0, 0
        for draws, spread in self.parts:
            total_s += spread.at(uniforms[first : first + draws])
            first += draws
        return saturate(total_s)

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        total_s, first = np.zeros(len(uniforms)), 0
        for draws, spread in self.parts:
            total_s += spread.at_many(uniforms[:, first : first + draws])
            first += draws
        return np.minimum(MAX_DELAY_S, total_s)

    def moments(self) -> Moments:
        """Add up; the parts are independent. Where the ceiling cuts the sum, mean and variance have no closed form."""
        found = [spread.moments() for _, spread in self.parts]
        most_s = math.fsum(part.max_s for part in found)
        means = [part.mean_s for part in found if part.mean_s is not None]
        variances = [part.var_s2 for part in found if part.var_s2 is not None]
        exact = len(means) == len(variances) == len(found) and most_s <= MAX_DELAY_S
        mean_s, var_s2 = (math.fsum(means), math.fsum(variances)) if exact else (None, None)
        return Moments(saturate(math.fsum(part.min_s for part in found)), mean_s, saturate(most_s), var_s2)


def _check(parts: tuple[Drawn, ...], name: str, max_retries: int | None, budget_s: float | None) -> None:
    if not parts:
        raise ValueError(f"{name}: must have at least one part, got ()")
    if any(part.needs_previous for part in parts):
        raise ValueError(f"{name}: no part may depend on the delay before, which is not its own but the whole's")
    limits(name, max_retries, budget_s)


def _formula(part: Drawn) -> str:
    """Return a part's formula, in parentheses where a comma would end it."""
    text = str(getattr(part, "formula", part))
    return f"({text})" if ", " in text else text
