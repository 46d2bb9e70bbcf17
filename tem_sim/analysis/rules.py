"""What the run's scenario promised, as the few values that checks and metrics judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.pipeline.settings import Settings
    from tem_sim.scenario.models import Scenario


# The store keeps microseconds: a time or delay may be off by one in its last digit.
ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The pipeline's settings, the scheduler's periods, and how far clocks may be off.

    `skew_s`: the furthest that the declared faults can take two clocks apart. `slots`: handler calls that can run
    at the same time, be it the workers or the downstream's servers that are fewer. `service_s`: the mean time of a call
    that is served, for events of no special kind. `fail_s`: the time of a call that is refused.
    """

    settings: Settings
    retry_every_s: float
    rescue_every_s: float
    skew_s: float
    slots: int
    service_s: float
    fail_s: float


def rules(run: Run) -> Rules:
    """Return the rules of the run's scenario."""
    scenario = run.scenario
    return Rules(
        settings=scenario.settings(),
        retry_every_s=scenario.beat.retry_every_s,
        rescue_every_s=scenario.beat.rescue_every_s,
        skew_s=worst_skew_s(scenario),
        slots=_slots(scenario),
        service_s=scenario.handler.service_time.mean_s,
        fail_s=scenario.handler.fail_time_s,
    )


def _slots(scenario: Scenario) -> int:
    workers = scenario.workers.count * scenario.workers.concurrency
    downstream = scenario.handler.capacity
    return workers if downstream is None else min(workers, downstream.servers)


def worst_skew_s(scenario: Scenario) -> float:
    """Return the furthest that clock_skew faults, their drift included, can take two clocks apart.

    Skews of one node that overlap in time add up.
    """
    skews = [fault for fault in scenario.faults if fault.kind == "clock_skew"]
    ahead_s, behind_s = 0.0, 0.0
    for node in {fault.target for fault in skews}:
        for now_s in {fault.at_s for fault in skews}:
            ends = [
                (fault.skew_s, fault.skew_s + fault.drift * fault.for_s)
                for fault in skews
                if _covers(fault.target, node) and fault.at_s <= now_s < fault.at_s + fault.for_s
            ]
            ahead_s = max(ahead_s, sum(max(0.0, *both) for both in ends))
            behind_s = min(behind_s, sum(min(0.0, *both) for both in ends))
    return ahead_s - behind_s


def _covers(target: str, node: str) -> bool:
    return target in (node, "*") or (target == "workers" and node.startswith("worker-"))
