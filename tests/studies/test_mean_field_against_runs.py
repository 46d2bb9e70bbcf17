"""Collapse on paper and in the simulator: the same loads and outages tip both."""

import pytest

from tem_sim.analysis.theory import downstream_of, regime, tipping_outage_s
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate


def storm(load_per_s: float, outage_s: float) -> Scenario:
    """A downstream that serves 40/s, a policy with 3 retries, and an outage at 20 s."""
    return Scenario.model_validate(
        {
            "scenario": "tipping",
            "horizon": "80s",
            "stop": "horizon",
            "arrivals": {"kind": "poisson", "rate": load_per_s},
            "pipeline": {
                "backoff": {"base": "1s", "cap": "10s", "jitter": "full", "max_retries": 3},
                "batch_size": 1,
                "settle_every": 1,
                "outbox": False,
            },
            "workers": {"count": 1, "concurrency": 200},
            "beat": {"retry_every": "100ms"},
            "users": {"connected": 0},
            "handler": {
                "service_time": {"kind": "exponential", "mean": "100ms"},
                "capacity": {"servers": 4, "timeout": "1s", "queue": 1000},
            },
            "faults": [{"kind": "outage", "at": "20s", "for": outage_s}],
        }
    )


def processed_late(load_per_s: float, outage_s: float) -> float:
    """Return the part of the events submitted long after the outage that is PROCESSED."""
    events = simulate(storm(load_per_s, outage_s)).events
    late = events[events["submitted_s"].between(60.0, 70.0)]
    return float((late["status"] == "PROCESSED").mean())


@pytest.mark.slow
def test_what_tips_the_mean_field_tips_the_simulator():
    scenario = storm(28.0, 1.0)
    down = downstream_of(scenario)
    tipping_s = tipping_outage_s(scenario.policy(), 28.0, down, longest_s=30.0, after_s=60.0, step_s=0.1)
    assert 2.0 < tipping_s < 4.0
    assert processed_late(28.0, tipping_s - 2.0) > 0.95
    assert processed_late(28.0, tipping_s + 2.0) < 0.1


@pytest.mark.slow
def test_below_hidden_capacity_neither_tips():
    scenario = storm(8.0, 20.0)
    assert regime(8.0, downstream_of(scenario), 3) == "stable"
    assert processed_late(8.0, 20.0) > 0.99
