"""Small worlds for tests of the simulator: a scenario in a few words, and what became of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tem_sim.frames import Run
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import World, simulate

BASE: dict[str, Any] = {
    "scenario": "test",
    "seed": 1,
    "horizon": "5m",
    "arrivals": {"kind": "poisson", "rate": "10/s", "from": "0s", "until": "30s"},
    "pipeline": {"backoff": {"growth": "exponential", "base": "1s", "jitter": "full", "max_retries": 8}},
    "workers": {"count": 3, "concurrency": 2},
    "handler": {"service_time": {"kind": "exponential", "mean": "50ms"}},
}


def scenario(**sections: Any) -> Scenario:
    """Return the base scenario with sections merged in, one level deep; what is no mapping replaces."""
    merged = dict(BASE)
    for name, section in sections.items():
        both = isinstance(section, dict) and isinstance(merged.get(name), dict) and name != "arrivals"
        merged[name] = {**merged[name], **section} if both else section
    return Scenario.model_validate(merged)


def run(**sections: Any) -> Run:
    """Simulate the base scenario with these sections."""
    return simulate(scenario(**sections))


def world(**sections: Any) -> World:
    """Return a world that has not begun yet; the caller closes it."""
    made = scenario(**sections)
    return World(made, made.seed, "sqlite://")


def burst(events: int = 1, at: str = "2s") -> dict[str, Any]:
    """Arrivals: so many at once."""
    return {"kind": "burst", "at": at, "events": events}


def fault_row(of: Run, fault_id: int = 0) -> pd.Series[Any]:
    """Return the first activation of a fault."""
    return of.faults[of.faults["fault_id"] == fault_id].iloc[0]


def timeline(of: Run, event_id: int) -> list[tuple[str, str]]:
    """Return an event's (state, cause) pairs in their order."""
    rows = of.transitions[of.transitions["event_id"] == event_id].sort_values("seq")
    return list(zip(rows["after"].astype(str), rows["cause"].astype(str), strict=True))


def all_done(of: Run) -> bool:
    """Whether every event is PROCESSED."""
    return bool((of.events["status"] == "PROCESSED").all())
