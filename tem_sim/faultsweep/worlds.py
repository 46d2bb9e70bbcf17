"""Random worlds: small scenarios, each made by its seed alone; a mixture of fault-free, swarm, and all kinds on.

Faults hide one another, so that most worlds have a random few of the kinds only (swarm testing, Groce et al. 2012).
Everything that goes wrong is over by the middle of the run, and what is promised must hold in the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tem_sim.pipeline.ports import EDGES
from tem_sim.scenario.models import Scenario

if TYPE_CHECKING:
    from tem_sim.faultsweep.reduced import Plain

FAULT_FREE, ALL_ON = 0.1, 0.1
# So many faults a swarm has at most.
MOST_FAULTS = 4
LAST_FAULT_S = 8.0
HORIZON_S = 90.0
_LENGTHS_S = (0.002, 0.05, 0.3, 1.0, 3.0, 6.0)
_STATEMENT_EDGES = ("before_statement", "after_statement", "before_commit", "after_commit")

Make = Callable[[random.Random, "Plain"], "Plain"]


def worlds(seed: int, scenario: Scenario | None = None) -> Scenario:
    """Return the world of a seed; of a `scenario` its settings are kept, and its faults are replaced."""
    luck = random.Random(f"world {seed}")
    plain = _settings(luck) if scenario is None else _of(scenario)
    store = plain["store"]
    statements = isinstance(store, dict) and store.get("interleave") == "statement"
    return Scenario.model_validate({**plain, "seed": seed, "faults": _faults(luck, plain, statements)})


def _of(scenario: Scenario) -> Plain:
    dropped = ("matrix", "seeds", "thresholds", "faults")
    return {name: value for name, value in scenario.resolved().items() if name not in dropped}


def _settings(luck: random.Random) -> Plain:
    lease_s = luck.choice([1.0, 2.0, 4.0])
    retries = luck.choice([0, 1, 2, 3])
    return {
        "scenario": "world",
        "horizon": HORIZON_S,
        "arrivals": _arrivals(luck),
        "events": {"kinds": {"normal": 3, "twice": 2, "poison": 1}, "duplicate_submits": luck.choice([0.0, 0.0, 0.5])},
        "pipeline": {
            "backoff": {
                "growth": luck.choice(["fixed", "exponential"]),
                "base": luck.choice([0.3, 1.0]),
                "jitter": luck.choice(["none", "full", "equal"]),
                "max_retries": retries,
            },
            "batch_size": luck.choice([1, 2, 5]),
            "settle_every": luck.choice([1, 2, 50]),
            "lease": lease_s,
            "sweep_after": luck.choice([2.0, 5.0]),
            "crash_budget": luck.choice([1, 3, 10]),
            "requeue_limit": luck.choice([1, 3, 500]),
        },
        "workers": {"count": luck.choice([1, 2, 3]), "concurrency": luck.choice([1, 2]), "restart_after": 0.5},
        "beat": {"retry_every": luck.choice([0.3, 1.0]), "rescue_every": 0.7, "relay_every": 0.5},
        "broker": {"ack": luck.choice(["early", "late"]), "visibility_timeout": 10.0, "sweep_every": 3.0},
        "store": {"interleave": luck.choice(["transaction", "statement"]), "watch": True},
        "handler": {
            "service_time": {"kind": "exponential", "mean": luck.choice([0.02, 0.2])},
            "kinds": {"twice": {"fail_first": 2}, "poison": {"effect": "fail"}},
        },
        "users": {"count": 3},
    }


def _arrivals(luck: random.Random) -> Plain:
    if luck.random() < 0.5:
        return {"kind": "burst", "at": 0.5, "events": luck.randint(1, 8)}
    return {"kind": "poisson", "rate": f"{luck.choice([1, 3])}/s", "from": 0.5, "until": 4.0}


# --- faults


def _faults(luck: random.Random, plain: Plain, statements: bool) -> list[Plain]:
    kinds = [name for name in _MAKE if statements or name not in _OF_STATEMENTS]
    mood = luck.random()
    if mood < FAULT_FREE:
        return []
    if mood > 1 - ALL_ON:
        return [_fault(luck, plain, kind, statements) for kind in kinds]
    swarm = [kind for kind in kinds if luck.random() < 0.5] or kinds
    return [_fault(luck, plain, luck.choice(swarm), statements) for _ in range(luck.randint(1, MOST_FAULTS))]


def _fault(luck: random.Random, plain: Plain, kind: str, statements: bool) -> Plain:
    if kind in _TRIGGERED:
        return {"kind": kind, **_trigger(luck, plain, kind, statements), **_MAKE[kind](luck, plain)}
    length_s = luck.choice(_LENGTHS_S)
    at_s = luck.uniform(0.0, LAST_FAULT_S - 2.0)
    return {"kind": kind, "at": round(at_s, 6), "for": length_s, **_MAKE[kind](luck, plain)}


def _trigger(luck: random.Random, plain: Plain, kind: str, statements: bool) -> Plain:
    workers_only = kind in _WORKERS_ONLY
    target = "workers" if workers_only else luck.choice(["workers", "workers", "beat", "api", "gateway"])
    if luck.random() < 0.3 or kind in _TIMED:
        return {"target": target, "at": round(luck.uniform(0.0, LAST_FAULT_S), 6)}
    if statements and luck.random() < 0.7:
        return {"target": target, "edge": luck.choice(_STATEMENT_EDGES), "nth": luck.choice([1, 2, 3, 5, 8, 13])}
    return {"target": "workers", "edge": luck.choice(EDGES[:6]), "nth": luck.choice([1, 2, 3, 5])}


def _none(luck: random.Random, plain: Plain) -> Plain:
    return {}


def _restart(luck: random.Random, plain: Plain) -> Plain:
    return {"restart_after": luck.choice((0.0, 0.5, 3.0))}


def _pause(luck: random.Random, plain: Plain) -> Plain:
    pipe = plain["pipeline"]
    lease_s = float(str(pipe["lease"])) if isinstance(pipe, dict) else 2.0
    return {"for": round(luck.choice((0.05, 0.5, 0.95, 1.05, 1.6, 2.5)) * lease_s, 6)}


def _share(luck: random.Random, plain: Plain) -> Plain:
    return {"fraction": luck.choice((0.5, 1.0))}


def _probability(luck: random.Random, plain: Plain) -> Plain:
    return {"probability": luck.choice((0.3, 1.0))}


def _copies(luck: random.Random, plain: Plain) -> Plain:
    return {"gaps": [luck.choice((0.0, 0.05, 0.5, 3.0)) for _ in range(luck.choice((1, 2)))]}


_MAKE: dict[str, Make] = {
    "outage": _none,
    "worker_death": _restart,
    "worker_pause": _pause,
    "worker_slow": lambda luck, plain: {"target": "workers", "factor": luck.choice((2.0, 10.0))},
    "worker_stop": lambda luck, plain: {"grace": luck.choice((0.0, 1.0)), "restart_after": 0.5},
    "child_death": _none,
    "pop_then_die": lambda luck, plain: {"restart_after": 0.5},
    "broker_restart": lambda luck, plain: {"messages": luck.choice(("kept", "lost"))},
    "wakeups_lost": _probability,
    "wakeups_duplicated": _copies,
    "wakeups_reordered": _none,
    "publish_unanswered": _probability,
    "beat_stopped": _none,
    "beat_doubled": lambda luck, plain: {"phase": luck.choice((0.0, 0.001, 0.1))},
    "gateway_disconnect": _share,
    "subscriber_gap": lambda luck, plain: {"counted": luck.random() < 0.5},
    "notifications_doubled": lambda luck, plain: {"how": luck.choice(("twice", "unanswered"))},
    "acks_lost": _probability,
    "users_offline": _share,
    "routing_stale": _share,
    "connections_dropped": _none,
    "commit_unanswered": lambda luck, plain: {"committed": luck.choice((0.0, 0.5, 1.0))},
    "database_down": _none,
    "database_slow": lambda luck, plain: {"factor": luck.choice((10.0, 100.0))},
    "database_locked": _none,
}
_TRIGGERED = ("worker_death", "worker_pause", "worker_stop", "child_death", "pop_then_die", "connections_dropped")
_WORKERS_ONLY = ("worker_stop", "child_death", "pop_then_die")
# Between a worker's tasks, too, and so at a time rather than at a step of one.
_TIMED = ("worker_stop", "child_death", "pop_then_die")
_OF_STATEMENTS = ("connections_dropped", "commit_unanswered", "database_down", "database_locked", "database_slow")
