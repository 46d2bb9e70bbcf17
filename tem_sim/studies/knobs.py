"""The five settings of a storm that people turn first: read off a scenario, and set on it.

base, cap, jitter and max_retries are the policy's; the fifth is how long the downstream is away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.loader import loads, overridden
from tem_sim.scenario.policy import (
    ExponentialBackoff,
    FibonacciBackoff,
    FixedBackoff,
    LinearBackoff,
    PolynomialBackoff,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.policy import Jitter

# Policies that begin with a base. Any other has no such setting, and is replaced by an exponential one.
Based = FixedBackoff | LinearBackoff | ExponentialBackoff | PolynomialBackoff | FibonacciBackoff
# Those that need no setting of their own.
PLAIN_JITTERS = ("none", "full", "equal", "proportional", "decorrelated")

_SMALL_STORM = """
scenario: small_storm
about: 500 events fail together while a downstream of limited capacity is away for 20 s.
horizon: 10m
arrivals: {kind: burst, at: 1s, events: 500}
pipeline:
  backoff: {growth: exponential, base: 2s, factor: 2, cap: 30s, jitter: full, max_retries: 10}
  batch_size: 5
  settle_every: 5
workers: {count: 4, concurrency: 16}
beat: {retry_every: 500ms}
handler:
  service_time: {kind: lognormal, mean: 50ms, cv: 0.5}
  fail_time: 10ms
  capacity: {servers: 4, queue: 40, timeout: 400ms}
faults:
  - {kind: outage, at: 0s, for: 20s}
"""


def small_storm() -> Scenario:
    """Return a storm that runs in about half a second, and whose downstream is hurt by walls of retries."""
    return loads(_SMALL_STORM, file="small_storm")


@dataclass(frozen=True, slots=True)
class Knobs:
    """The settings; None means `off`. `jitter` is what a scenario writes: a name, or a mapping in flow style."""

    base_s: float
    cap_s: float | None
    jitter: str
    max_retries: int | None
    outage_s: float

    @staticmethod
    def of(scenario: Scenario) -> Knobs:
        """Read them off a scenario; what its policy does not have is as in `small_storm`."""
        backoff = scenario.pipeline.backoff if has_base(scenario) else small_storm().pipeline.backoff
        assert isinstance(backoff, Based)
        outages_s = [fault.for_s for fault in scenario.faults if isinstance(fault, Outage)]
        return Knobs(
            base_s=backoff.base_s,
            cap_s=backoff.cap_s,
            jitter=_written(backoff.jitter),
            max_retries=scenario.policy().max_retries,
            outage_s=next(iter(outages_s), 0.0),
        )

    def on(self, scenario: Scenario) -> Scenario:
        """Return the scenario with these settings; ScenarioError where they do not go together.

        The outage is the scenario's first one. Where it has none, a new one begins with the load.
        """
        model = scenario.pipeline.backoff if has_base(scenario) else ExponentialBackoff()
        backoff = model.resolved() | {
            "base": self.base_s,
            "cap": _or_off(self.cap_s),
            "max_retries": _or_off(self.max_retries),
        }
        settings = [f"pipeline.backoff={json.dumps(backoff)}", f"pipeline.backoff.jitter={self.jitter}"]
        return overridden(scenario, [*settings, f"faults={json.dumps(self._faults(scenario))}"])

    def _faults(self, scenario: Scenario) -> list[JsonValue]:
        """Return the scenario's faults, each in its place, with the outage as it is set; none when its length is 0."""
        place = next((i for i, fault in enumerate(scenario.faults) if isinstance(fault, Outage)), None)
        begins_s = min(process.start_s for process in scenario.arrivals)
        new: dict[str, JsonValue] = {"kind": "outage", "at": begins_s}
        outage = new if place is None else scenario.faults[place].resolved()
        turned: list[JsonValue] = [{**outage, "for": self.outage_s}] if self.outage_s else []
        faults: list[JsonValue] = [fault.resolved() for fault in scenario.faults]
        return [*faults, *turned] if place is None else [*faults[:place], *turned, *faults[place + 1 :]]


def has_base(scenario: Scenario) -> bool:
    """Tell whether the scenario's policy grows from a base, and so has the settings that are turned here."""
    return isinstance(scenario.pipeline.backoff, Based)


def jitters_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the jitters to choose from: those that need no setting, and the scenario's own."""
    return tuple(dict.fromkeys([*PLAIN_JITTERS, Knobs.of(scenario).jitter]))


def expected_events(scenario: Scenario) -> float:
    """Return about how many events the scenario will submit."""
    return sum(process.expected(scenario.horizon_s) for process in scenario.arrivals)


def _written(jitter: Jitter) -> str:
    """Return a jitter as a scenario writes it; without its settings where it has none of its own."""
    return str(jitter.kind) if jitter.model_fields_set <= {"kind"} else json.dumps(jitter.resolved())


def _or_off(limit: float | None) -> float | str:
    return "off" if limit is None else limit
