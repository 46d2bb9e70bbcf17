"""A circuit breaker: when most calls fail, stop calling for a while, then try with a few before all come back.

Nygard's pattern ("Release It!"), with the settings that libraries such as resilience4j give it. What is here decides
and remembers nothing: the circuit is a value, which the fleet shares in the store (`shared_state`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tem_sim.pipeline.bounds import count, seconds, within


class CircuitState(StrEnum):
    """`closed`: calls flow. `open`: none is made. `half_open`: a few are under way, to see whether they succeed."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit(NamedTuple):
    """A state, when it (or the window in which a closed circuit counts) began, and what was counted since."""

    state: CircuitState
    since: float
    calls: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """Opens when, of at least `minimum_calls` within a window, the share `failure_rate` has failed.

    Windows follow one another; none slides, so that two counters are all there is to share. After `cool_down_s` up to
    `probes` events are let through, and the first report of such a probe closes the circuit or opens it again.
    """

    failure_rate: float = 0.5
    minimum_calls: int = 20
    window_s: float = 10.0
    cool_down_s: float = 5.0
    probes: int = 5

    def __post_init__(self) -> None:
        within("breaker.failure_rate", self.failure_rate, 1e-6, 1.0, 0.5)
        count("breaker.minimum_calls", self.minimum_calls, least=1)
        seconds("breaker.window_s", self.window_s, above=0.0)
        seconds("breaker.cool_down_s", self.cool_down_s, above=0.0)
        count("breaker.probes", self.probes, least=1)

    def allowed(self, circuit: Circuit, now: float) -> int | None:
        """Return how many events may be claimed at this time; None for any number.

        A probe that was never heard of again, because its worker died, is followed by another after a cool-down.
        """
        if circuit.state is CircuitState.CLOSED:
            return None
        return self.probes if now >= circuit.since + self.cool_down_s else 0

    def after(self, circuit: Circuit, calls: int, failures: int, now: float) -> Circuit:
        """Return the circuit after so many calls have come to their end, of which so many failed."""
        if circuit.state is CircuitState.OPEN:
            # These began before it opened, and say nothing new.
            return circuit
        if circuit.state is CircuitState.HALF_OPEN:
            return Circuit(CircuitState.OPEN if self._too_many(calls, failures) else CircuitState.CLOSED, now)
        if now >= circuit.since + self.window_s:
            circuit = Circuit(CircuitState.CLOSED, now)
        calls, failures = circuit.calls + calls, circuit.failures + failures
        if calls >= self.minimum_calls and self._too_many(calls, failures):
            return Circuit(CircuitState.OPEN, now)
        return Circuit(CircuitState.CLOSED, circuit.since, calls, failures)

    def _too_many(self, calls: int, failures: int) -> bool:
        return failures >= self.failure_rate * calls
