"""Whether all faults of a scenario can be inflicted for real: said before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tem_sim.live.faults.refusals import Ground
from tem_sim.live.faults.registry import LIVE, Refused
from tem_sim.scenario.base import Broken
from tem_sim.scenario.errors import Problem, ScenarioError, Spot

if TYPE_CHECKING:
    from tem_sim.scenario.faults.kinds import AnyFault
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.places import Places


def check_faults(scenario: Scenario, ground: Ground, places: Places | None = None) -> None:
    """Raise ScenarioError with every fault of a scenario that cannot be inflicted on this ground.

    `places` says where in its file each stands, if it has one.
    """
    problems = [
        _problem(scenario, index, broken, places)
        for index, fault in enumerate(scenario.faults)
        for broken in refusals_of(fault, ground)
    ]
    if problems:
        raise ScenarioError(problems)


def needs_memory(scenario: Scenario) -> bool:
    """Whether the system's own Redis must write to its disk: for the scenario, or for a restart that keeps messages."""
    kept = any(getattr(fault, "messages", None) == "kept" for fault in scenario.faults)
    return scenario.broker.durable or kept


def refusals_of(fault: AnyFault, ground: Ground) -> Iterator[Broken]:
    """Yield why a fault cannot be inflicted on this ground: nothing for one that can."""
    how = LIVE[fault.kind]
    if isinstance(how, Refused):
        instead = f"; use {how.instead}" if how.instead else "; leave it out, or run the simulator"
        yield Broken(("kind",), f"cannot be inflicted live: {_clause(how.why)}{instead}", fault.kind)
        return
    for rule in how.rules:
        yield from rule(fault, ground)


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


def _problem(scenario: Scenario, index: int, broken: Broken, places: Places | None) -> Problem:
    spot = Spot(scenario.name) if places is None else places.fault(index, *map(str, broken.loc))
    path = ".".join([f"faults[{index}]", *map(str, broken.loc)])
    value = None if broken.value is None else str(broken.value)
    message = broken.message
    if not broken.loc:
        message = f"{scenario.faults[index].kind} {message}"
    return Problem(spot, path, message, value, broken.hint)
