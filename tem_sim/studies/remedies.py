"""What could be done about a storm: each mitigation as the settings that switch it on, sized by the scenario itself.

The sizes are a first guess that an engineer would make from three numbers: the capacity (calls that slots and
downstream can serve per second), the load (mean arrivals per second) and the longest outage. To try others, change the
mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.scenario.policy import Growing
from tem_sim.studies.knobs import has_base

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

# The limits that are off by default, and their fields.
_LIMITS = {
    "retry budget": "retry_budget",
    "circuit breaker": "breaker",
    "concurrency limit": "concurrency_limit",
    "load shedding": "shedding",
    "deadline": "deadline_s",
}
JITTERS = ("none", "full", "equal", "decorrelated")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that the mitigations are sized by."""

    capacity_per_s: float
    load_per_s: float
    outage_s: float
    slots: int
    servers: int

    @staticmethod
    def of(scenario: Scenario) -> Sizes:
        """Read them off a scenario. Where the downstream has no limit, the slots are the capacity."""
        workers, downstream = scenario.workers, scenario.handler.capacity
        slots = workers.count * workers.concurrency
        servers = slots if downstream is None else min(slots, downstream.servers)
        events = sum(process.expected(scenario.horizon_s) for process in scenario.arrivals)
        outages_s = [fault.for_s for fault in scenario.faults if fault.kind == "outage"]
        return Sizes(
            capacity_per_s=servers / scenario.handler.service_time.mean_s,
            load_per_s=events / scenario.horizon_s,
            outage_s=max(outages_s, default=10.0),
            slots=slots,
            servers=servers,
        )

    @property
    def spare_per_s(self) -> float:
        """Calls per second that are left for retries; a tenth of the capacity at least."""
        return max(self.capacity_per_s - self.load_per_s, 0.1 * self.capacity_per_s)


def remedies(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Return every mitigation by name, each as the `path=value` settings that a scenario takes with `--set`.

    What the scenario does already, such as its own jitter, is left out; a limit that it has is tried without.
    """
    sized = dict([*_backoffs(scenario), *_scheduling(scenario), *_limits(scenario)])
    return dict(_or_without(name, settings, scenario) for name, settings in sized.items())


def _or_without(name: str, settings: tuple[str, ...], scenario: Scenario) -> tuple[str, tuple[str, ...]]:
    """Return a limit of the pipeline as it is, or switched off where the scenario has one of its own."""
    field = _LIMITS.get(name)
    if field is None or getattr(scenario.pipeline, field) is None:
        return name, settings
    return f"no {name}", (f"pipeline.{field.removesuffix('_s')}=off",)


def _backoffs(scenario: Scenario) -> Iterator[tuple[str, tuple[str, ...]]]:
    backoff = scenario.pipeline.backoff
    if not isinstance(backoff, Growing):
        return
    for jitter in JITTERS:
        if jitter != backoff.jitter.kind:
            yield f"jitter {jitter}", (f"pipeline.backoff.jitter={jitter}",)
    if backoff.cap_s is not None:
        yield "no cap", ("pipeline.backoff.cap=off",)
    elif has_base(scenario):
        cap_s = 4 * backoff.base_s  # type: ignore[union-attr]  # One of those that have a base.
        yield f"cap {cap_s:g} s", (f"pipeline.backoff.cap={cap_s:g}",)


def _scheduling(scenario: Scenario) -> Iterator[tuple[str, tuple[str, ...]]]:
    sizes, period_s = Sizes.of(scenario), scenario.beat.retry_every_s
    limit = f"pipeline.requeue_limit={max(1, int(sizes.spare_per_s * period_s))}"
    yield "tick LIMIT", (limit,)
    yield "tick LIMIT, adaptive poll", (limit, f"beat.retry_floor={period_s / 8:g}")
    yield "new events first", ("pipeline.claim_order=new_first",)
    yield "newest first", ("pipeline.claim_order=newest_first",)


def _limits(scenario: Scenario) -> Iterator[tuple[str, tuple[str, ...]]]:
    sizes = Sizes.of(scenario)
    floor_per_s = max(0.5 * sizes.spare_per_s, 0.1)
    burst = max(1, int(sizes.capacity_per_s))
    yield "retry budget", (f"pipeline.retry_budget={{ratio: 0.1, floor: {floor_per_s:g}, burst: {burst}}}",)
    yield "circuit breaker", ("pipeline.breaker={cool_down: 5s}",)
    places = sizes.servers if sizes.servers < sizes.slots else max(1, sizes.slots // 2)
    yield "concurrency limit", (f"pipeline.concurrency_limit={places}",)
    above = max(1, int(10 * sizes.capacity_per_s))
    yield "load shedding", (f"pipeline.shedding={{above: {above}, retry_after: 5s}}",)
    yield "deadline", (f"pipeline.deadline={max(2 * sizes.outage_s, 10.0):g}",)
