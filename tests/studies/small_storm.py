"""A storm small enough to be run many times in a test: 40 events meet an outage of 6 s."""

from __future__ import annotations

from typing import Any

from tem_sim.scenario.models import Scenario

STORM: dict[str, Any] = {
    "scenario": "small storm",
    "horizon": "3m",
    "arrivals": {"kind": "burst", "at": "1s", "events": 40},
    "pipeline": {"backoff": {"growth": "exponential", "base": "1s", "jitter": "full", "max_retries": 8}},
    "workers": {"count": 2, "concurrency": 4},
    "users": {"count": 5},
    "faults": [{"kind": "outage", "at": "0s", "for": "6s"}],
}


def storm(**sections: Any) -> Scenario:
    """Return the storm with these sections in place of its own."""
    return Scenario.model_validate({**STORM, **sections})
