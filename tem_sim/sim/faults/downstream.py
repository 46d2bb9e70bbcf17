"""How the downstream fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.faults.downstream import Outage
    from tem_sim.sim.faults.infliction import Infliction


def outage(at: Infliction, fault: Outage) -> None:
    dependency = at.world.dependency
    refused = 0

    def begin() -> str:
        nonlocal refused
        refused = dependency.refused_in_outage
        dependency.outages += 1
        return "every downstream call is refused"

    def end() -> int:
        dependency.outages -= 1
        return dependency.refused_in_outage - refused

    at.window(begin, end)
