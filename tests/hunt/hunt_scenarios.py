"""Small scenarios to hunt in: what is switched off in them, and how to hunt cheaply."""

from typing import Any

from tem_sim.hunt.goal import goal_of
from tem_sim.hunt.hunt import Hunt, hunt
from tem_sim.scenario.models import Scenario

BASE: dict[str, Any] = {
    "scenario": "small",
    "horizon": "2m",
    "arrivals": {"kind": "poisson", "rate": "1/s", "until": "5s"},
    "pipeline": {"backoff": {"base": "1s", "max_retries": 3}},
    "workers": {"count": 2, "concurrency": 1},
    "users": {"count": 3},
}
NO_OUTBOX = {"pipeline": {**BASE["pipeline"], "outbox": False}}
STALE = {"pipeline": {**BASE["pipeline"], "write_guard": "stale"}}
FILE = """
scenario: small
horizon: 2m
arrivals: {kind: poisson, rate: 1/s, until: 5s}
pipeline: {backoff: {base: 1s, max_retries: 3}}
workers: {count: 2, concurrency: 1}
users: {count: 3}
"""


def scenario(**sections: Any) -> Scenario:
    """Return the small scenario with sections in place of its own."""
    return Scenario.model_validate({**BASE, **sections})


def hunted(where: Scenario, *, seed: int = 1, tries: int | None = 200, **more: Any) -> Hunt:
    """Hunt in this process, until something is found; `more` is what to look for."""
    return hunt(where, goal_of(where, **more), seed=seed, tries=tries, budget_s=300, jobs=1)
