"""When events arrive: each process is a value, and its arrivals are a function of it and its own random stream.

All random processes are one unit-rate Poisson process seen through their cumulative rate, so that the same seed at
twice the rate is the same luck in half the time, and a longer run begins like a shorter one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import (
    Duration,
    PositiveCount,
    PositiveDuration,
    PositiveRate,
    Rate,
    Some,
)
from tem_sim.scenario.replay import Replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.streams import Streams

_FROM = "When the first may arrive."
_UNTIL = "When the last must have arrived; the horizon when left out."


class Windowed(Model):
    """Arrivals between two times."""

    from_s: Duration = Field(0.0, alias="from", description=_FROM)
    until_s: PositiveDuration | None = Field(None, alias="until", description=_UNTIL)

    @property
    def start_s(self) -> float:
        return self.from_s

    def length_s(self, horizon_s: float) -> float:
        """Return for how long events arrive before the horizon."""
        end_s = horizon_s if self.until_s is None else min(self.until_s, horizon_s)
        return max(0.0, end_s - self.from_s)

    @model_validator(mode="after")
    def _in_order(self) -> Windowed:
        if self.until_s is not None and self.until_s <= self.from_s:
            rule = f"must be after from ({self.from_s:g} s)"
            raise broken_rules("arrivals", [Broken(("until",), rule, self.until_s)])
        return self


class Burst(Model):
    """So many events at one instant."""

    kind: Literal["burst"] = "burst"
    at_s: Duration = Field(0.0, alias="at", description="When they arrive.")
    events: PositiveCount = Field(description="How many arrive.")

    @property
    def start_s(self) -> float:
        return self.at_s

    def expected(self, horizon_s: float) -> float:
        return self.events

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        import numpy as np

        return np.full(self.events, self.at_s)


class ConstantRate(Windowed):
    """Evenly spaced, the first at `from`."""

    kind: Literal["constant"] = "constant"
    rate_per_s: PositiveRate = Field(alias="rate", description="Arrivals per second.")

    def expected(self, horizon_s: float) -> float:
        return self.length_s(horizon_s) * self.rate_per_s

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        import numpy as np

        # Without the allowance 0.3 s at 10/s would hold a fourth arrival, at its very end.
        count = max(0, math.ceil(self.expected(horizon_s) - 1e-9))
        return self.from_s + np.arange(count) / self.rate_per_s


class Poisson(Windowed):
    """Independent arrivals at a constant rate."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: PositiveRate = Field(alias="rate", description="Mean arrivals per second.")

    def expected(self, horizon_s: float) -> float:
        return self.length_s(horizon_s) * self.rate_per_s

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        return self.from_s + unit_poisson(rng, self.expected(horizon_s)) / self.rate_per_s


class Ramp(Windowed):
    """Independent arrivals at a rate that changes in a straight line from `rate` to `to_rate`."""

    kind: Literal["ramp"] = "ramp"
    rate_per_s: Rate = Field(alias="rate", description="Mean arrivals per second at `from`.")
    to_rate_per_s: Rate = Field(alias="to_rate", description="Mean arrivals per second at `until`.")

    def expected(self, horizon_s: float) -> float:
        length_s = self.length_s(horizon_s)
        return (self.rate_per_s + self._slope(horizon_s) * length_s / 2) * length_s

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        import numpy as np

        load = unit_poisson(rng, self.expected(horizon_s))
        slope, rate = self._slope(horizon_s), self.rate_per_s
        # The root of slope/2·t² + rate·t = load in the form that is also right where the slope is 0.
        root = np.sqrt(np.maximum(0.0, rate * rate + 2 * slope * load))
        return self.from_s + 2 * load / np.maximum(rate + root, 1e-300)

    def _slope(self, horizon_s: float) -> float:
        until_s = horizon_s if self.until_s is None else self.until_s
        return (self.to_rate_per_s - self.rate_per_s) / max(until_s - self.from_s, 1e-6)


class Phase(Model):
    """One stretch of a constant rate."""

    for_s: PositiveDuration = Field(alias="for", description="How long the phase lasts.")
    rate_per_s: Rate = Field(alias="rate", description="Mean arrivals per second; 0 for silence.")


class Phases(Model):
    """Independent arrivals, at another rate in each phase; after the last phase nothing arrives."""

    kind: Literal["phases"] = "phases"
    from_s: Duration = Field(0.0, alias="from", description="When the first phase begins.")
    phases: Some[Phase] = Field(description="The phases, one after the other.")

    @property
    def start_s(self) -> float:
        return self.from_s

    def expected(self, horizon_s: float) -> float:
        return self._edges(horizon_s)[1][-1]

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        import numpy as np

        ends_s, loads = self._edges(horizon_s)
        load = unit_poisson(rng, loads[-1])
        phase = np.searchsorted(np.array(loads), load, side="right") - 1
        into = load - np.array(loads)[phase]
        rates = np.array([phase.rate_per_s or 1.0 for phase in self.phases])
        times: NDArray[np.float64] = np.array(ends_s)[phase] + into / rates[phase]
        return times

    def _edges(self, horizon_s: float) -> tuple[list[float], list[float]]:
        """Return the times at which phases begin and end, and the load expected until each."""
        ends_s, loads = [self.from_s], [0.0]
        for phase in self.phases:
            end_s = max(ends_s[-1], min(ends_s[-1] + phase.for_s, horizon_s))
            loads.append(loads[-1] + phase.rate_per_s * (end_s - ends_s[-1]))
            ends_s.append(end_s)
        return ends_s, loads


Arrival = Annotated[
    Burst | ConstantRate | Poisson | Ramp | Phases | Replay,
    Field(discriminator="kind"),
]


def arrival_times(scenario: Scenario, streams: Streams) -> NDArray[np.float64]:
    """Return when the scenario's events arrive, all before the horizon.

    Shape (n,), float seconds since the run's start, ascending, in whole microseconds.
    """
    import numpy as np

    horizon_s = scenario.horizon_s
    parts = [
        process.times(horizon_s, streams.generator("arrivals", number))
        for number, process in enumerate(scenario.arrivals)
    ]
    times = np.rint(np.sort(np.concatenate(parts)) * 1e6) / 1e6
    return times[times < horizon_s]


def unit_poisson(rng: np.random.Generator, load: float) -> NDArray[np.float64]:
    """Return the arrivals of a Poisson process of rate 1 on [0, load), ascending.

    Gaps are −log(1−u), by libm and not by numpy: numpy's logarithm differs in its last bit from processor to processor.
    """
    import numpy as np

    arrivals = np.empty(0)
    end = 0.0
    while end < load:
        chunk = int(min(load - end, 1e6)) + 64
        gaps = [-math.log1p(-u) for u in rng.random(chunk).tolist()]
        more = np.cumsum([end, *gaps])[1:]
        arrivals = np.concatenate([arrivals, more])
        end = float(more[-1])
    return arrivals[arrivals < load]
