"""How long things take, as small frozen values: each turns one uniform into a duration, so that luck stays an argument.

`quantile` is called once per attempt. What does not depend on the uniform is computed once per pair of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import AlsoTakes, Duration, PositiveDuration, Some, Spread, Tail

# The least uniform but 0, at which a quantile without a lower bound is -inf.
_TINY = 2.0**-54


def _ascending(values_s: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(values_s))


class Constant(Model):
    """Always the same."""

    kind: Literal["constant"] = "constant"
    value_s: Duration = Field(alias="value", description="The duration.")

    @property
    def mean_s(self) -> float:
        return self.value_s

    def quantile(self, u: float) -> float:
        return self.value_s


class Uniform(Model):
    """Anything between two bounds, evenly."""

    kind: Literal["uniform"] = "uniform"
    low_s: Duration = Field(alias="low", description="The least duration.")
    high_s: Duration = Field(alias="high", description="The largest duration.")

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.high_s < self.low_s:
            raise _out_of_order("Uniform", "high", self.high_s, "low", self.low_s)
        return self

    @property
    def mean_s(self) -> float:
        return (self.low_s + self.high_s) / 2

    def quantile(self, u: float) -> float:
        return self.low_s + (self.high_s - self.low_s) * u


class Exponential(Model):
    """Memoryless: many short ones and a tail."""

    kind: Literal["exponential"] = "exponential"
    mean_s: Duration = Field(alias="mean", description="The mean duration.")

    def quantile(self, u: float) -> float:
        return -self.mean_s * math.log1p(-u)


class Lognormal(Model):
    """The usual shape of service times: a hump and a tail; `cv` is the standard deviation over the mean."""

    kind: Literal["lognormal"] = "lognormal"
    mean_s: PositiveDuration = Field(alias="mean", description="The mean duration.")
    cv: Spread = Field(0.5, description="The standard deviation divided by the mean.")

    def quantile(self, u: float) -> float:
        mu, sigma, inverse = _lognormal(self.mean_s, self.cv)
        return math.exp(mu + sigma * inverse(u or _TINY))


class Pareto(Model):
    """A heavy tail with an end (bounded Pareto): most are near the least, a few are near the largest."""

    kind: Literal["pareto"] = "pareto"
    min_s: PositiveDuration = Field(alias="min", description="The least duration.")
    max_s: PositiveDuration = Field(alias="max", description="The largest duration.")
    alpha: Tail = Field(1.5, description="The tail index; the smaller, the heavier the tail.")

    @model_validator(mode="after")
    def _ordered(self) -> Pareto:
        if self.max_s <= self.min_s:
            raise _out_of_order("Pareto", "max", self.max_s, "min", self.min_s)
        return self

    @property
    def mean_s(self) -> float:
        """The mean of a Pareto distribution cut off at `max` (L^a·a/(a−1)·(L^(1−a) − H^(1−a))/(1 − (L/H)^a))."""
        ratio, alpha = self.max_s / self.min_s, self.alpha
        if abs(alpha - 1) < 1e-9:
            return self.min_s * math.log(ratio) / (1 - 1 / ratio)
        return self.min_s * alpha / (alpha - 1) * (1 - math.pow(ratio, 1 - alpha)) / (1 - math.pow(ratio, -alpha))

    def quantile(self, u: float) -> float:
        reach, power = _pareto(self.min_s, self.max_s, self.alpha)
        return min(self.max_s, self.min_s * math.pow(1 - u * reach, power))


class Empirical(Model):
    """One of the given durations, each as likely as the others."""

    kind: Literal["empirical"] = "empirical"
    values_s: Annotated[Some[Duration], AfterValidator(_ascending)] = Field(
        alias="values", description="Measured durations."
    )

    @property
    def mean_s(self) -> float:
        return math.fsum(self.values_s) / len(self.values_s)

    def quantile(self, u: float) -> float:
        return self.values_s[int(u * len(self.values_s))]


def _spelled_out(value: object) -> object:
    """A bare duration is a constant."""
    return {"kind": "constant", "value": value} if isinstance(value, (str, int, float)) else value


Distribution = Annotated[
    Annotated[Constant | Uniform | Exponential | Lognormal | Pareto | Empirical, Field(discriminator="kind")],
    BeforeValidator(_spelled_out),
    AlsoTakes("duration"),
]


@lru_cache(maxsize=64)
def _lognormal(mean_s: float, cv: float) -> tuple[float, float, Callable[[float], float]]:
    from statistics import NormalDist

    variance = math.log1p(cv * cv)
    return math.log(mean_s) - variance / 2, math.sqrt(variance), NormalDist().inv_cdf


@lru_cache(maxsize=64)
def _pareto(min_s: float, max_s: float, alpha: float) -> tuple[float, float]:
    return 1 - math.pow(min_s / max_s, alpha), -1 / alpha


def _out_of_order(title: str, high: str, high_s: float, low: str, low_s: float) -> Exception:
    return broken_rules(title, [Broken((high,), f"must be above {low} ({low_s:g} s)", high_s)])
