"""What a hunt has tried: which kinds of fault really struck, at which edges of the code, and what went on meanwhile.

Asked for is not done: a fault that lay in wait at an edge which nobody passed counts as asked and not as landed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.checks.verdict import count
from tem_sim.hunt.kinds import at_edges, edges, searched
from tem_sim.pipeline.states import Cause

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# The log keeps microseconds.
ROUNDING_S = 1e-6


@dataclass(slots=True)
class Coverage:
    """Counts over tries.

    `asked` and `landed`: faults by kind. `edges`: strikes by (kind, edge of the code), and `waits` those that lay in
    wait there. `steps`: tries in which rows took that step of the state machine while a fault of that kind was on.
    """

    tries: int = 0
    faultless: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    landed: Counter[str] = field(default_factory=Counter)
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Coverage) -> None:
        """Count what another has seen as well."""
        self.tries += other.tries
        self.faultless += other.faultless
        for name in ("asked", "landed", "waits", "edges", "steps"):
            getattr(self, name).update(getattr(other, name))

    def sentence(self, scenario: Scenario) -> str:
        """Say it in one line, against what there is to reach under the scenario's settings."""
        there = searched(scenario)
        kinds = sum(1 for kind in there if self.landed[kind])
        asked, landed = sum(self.asked.values()), sum(self.landed.values())
        reached, there_are = self.reached(scenario)
        return (
            f"{count(self.tries, 'try', 'tries')}, {self.faultless:,} without a fault; {landed:,} of {asked:,} faults "
            f"landed, of {kinds} of {len(there)} kinds, in {reached} of {there_are} combinations of fault and step"
        )

    def reached(self, scenario: Scenario) -> tuple[int, int]:
        """Return how many combinations of kind and step, or of kind and edge, were tried, and how many there are."""
        kinds, steps = searched(scenario), steps_of(scenario)
        waits = [(kind, edge) for kind, edge in self.edges if kind in kinds]
        taken = [(kind, step) for kind, step in self.steps if kind in kinds and step in steps]
        return len(waits) + len(taken), len(kinds) * len(steps) + len(at_edges(kinds)) * len(edges(scenario))


def steps_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the steps of the state machine that can be taken under a scenario's settings, by their causes."""
    pipe = scenario.pipeline
    never = {
        # A replay by hand is no part of a simulation.
        Cause.REPLAY: True,
        Cause.EXHAUSTED: scenario.policy().max_retries is None,
        Cause.RESCUE: pipe.lease_s is None,
        Cause.CRASHED: pipe.lease_s is None or pipe.crash_budget is None,
        Cause.EXPIRED: pipe.deadline_s is None,
        Cause.RELEASE: pipe.breaker is None,
    }
    return tuple(str(cause) for cause in Cause if not never.get(cause, False))


def coverage_of(run: Run) -> Coverage:
    """Return what one run covers."""
    faults = run.scenario.faults
    found = Coverage(tries=1, faultless=int(not faults))
    struck = run.faults[run.faults["landed"] > 0]
    landed = set(struck["fault_id"].tolist())
    for number, fault in enumerate(faults):
        found.asked[fault.kind] += 1
        found.landed[fault.kind] += number in landed
        edge = getattr(fault, "edge", None)
        if edge is not None:
            found.waits[fault.kind, edge] += 1
            found.edges[fault.kind, edge] += number in landed
    found.steps.update(_steps(run, struck))
    for counter in (found.landed, found.edges):
        # A zero is no key, or `len` would count it.
        for key in [key for key, number in counter.items() if not number]:
            del counter[key]
    return found


def _steps(run: Run, struck: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the pairs of a kind and a step that rows took while a fault of that kind was on."""
    at_s, cause = run.transitions["at_s"].to_numpy(), run.transitions["cause"].astype(str).to_numpy()
    found: set[tuple[str, str]] = set()
    for kind, start_s, end_s in _windows(struck):
        inside = (at_s >= start_s - ROUNDING_S) & (at_s <= end_s + ROUNDING_S)
        found.update((kind, str(step)) for step in set(cause[inside]))
    return found


def _windows(struck: pd.DataFrame) -> Iterable[tuple[str, float, float]]:
    return zip(struck["kind"].astype(str), struck["start_s"], struck["end_s"].fillna(float("inf")), strict=True)
