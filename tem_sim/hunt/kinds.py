"""Which kinds of fault a hunt draws from, and at which edges they may lie in wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.pipeline.ports import EDGES
from tem_sim.scenario.faults.base import ALL_EDGES, Triggered
from tem_sim.scenario.faults.kinds import KINDS

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

# The kinds that most bugs of the lifecycle need one of; a hunt keeps to them more often than not.
USUAL: tuple[str, ...] = (
    "outage",
    "broker_restart",
    "worker_death",
    "worker_pause",
    "beat_stopped",
    "beat_doubled",
    "wakeups_lost",
    "gateway_disconnect",
    "clock_skew",
)
# Kinds that a hunt does not draw, and why not.
LEFT_OUT: dict[str, str] = {
    "old_version": "runs other settings than the scenario's, and settings are never touched",
}
# All that are drawn, in the order in which they are.
SEARCHED: tuple[str, ...] = (*USUAL, *(kind for kind in KINDS if kind not in USUAL and kind not in LEFT_OUT))


def searched(scenario: Scenario) -> tuple[str, ...]:
    """Return the kinds that can strike in a scenario: some do so between the statements of a transaction only."""
    if scenario.store.interleave == "statement":
        return SEARCHED
    return tuple(kind for kind in SEARCHED if not getattr(KINDS[kind], "needs_statements", False))


def edges(scenario: Scenario) -> tuple[str, ...]:
    """Return the edges at which a fault can lie in wait in a scenario."""
    return ALL_EDGES if scenario.store.interleave == "statement" else EDGES


def at_edges(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the kinds that can lie in wait at an edge."""
    return tuple(kind for kind in kinds if issubclass(KINDS[kind], Triggered))
