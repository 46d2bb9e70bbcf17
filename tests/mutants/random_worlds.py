"""Random worlds, each made by its seed alone: some without faults, some with every kind, most with a few."""

from __future__ import annotations

import random
from typing import Any

from .worlds import BASE, World, world

_EDGES = ("before_claim", "after_claim", "before_handle", "after_handle", "before_settle", "after_settle")


def random_world(seed: int) -> World:
    """Return the world of a seed."""
    luck = random.Random(f"world {seed}")
    return world(
        BASE,
        arrivals=_arrivals(luck),
        pipeline={
            "backoff": _backoff(luck),
            "batch_size": luck.choice([1, 2, 3, 5]),
            "settle_every": luck.choice([1, 2, 5]),
            "lease": f"{luck.choice([2, 3, 5])}s",
            "sweep_after": f"{luck.choice([3, 6])}s",
            "crash_budget": luck.choice([0, 1, 3]),
            "requeue_limit": luck.choice([1, 3, 500]),
        },
        workers={"count": luck.choice([1, 2, 3]), "concurrency": luck.choice([1, 1, 2])},
        broker={"ack": luck.choice(["early", "late"])},
        handler={"service_time": f"{luck.choice([20, 200, 700])}ms"},
        store=_store(luck),
        faults=_faults(luck),
    )


def _store(luck: random.Random) -> World:
    if luck.random() < 0.5:
        return {}
    # A database of several milliseconds a statement: what comes in between has time to.
    slow = {"kind": "exponential", "mean": f"{luck.choice([1, 5, 20])}ms"}
    return {"interleave": "statement", "statement_latency": slow, "commit_latency": slow}


def _arrivals(luck: random.Random) -> World:
    if luck.random() < 0.5:
        return {"kind": "burst", "at": "1s", "events": luck.randint(1, 9)}
    return {"kind": "poisson", "rate": f"{luck.choice([1, 3])}/s", "from": "1s", "until": "4s"}


def _backoff(luck: random.Random) -> World:
    jitter = luck.choice(["none", "full", "equal", "decorrelated"])
    made = {"growth": "exponential", "base": "1s", "jitter": jitter, "max_retries": luck.choice([0, 1, 2, 3])}
    return made | ({"cap": "3s"} if luck.random() < 0.5 else {})


def _faults(luck: random.Random) -> list[World]:
    kinds = [_death, _pause, _two_beats, _redis, _lost, _stopped, _outage, _cut_off]
    mood = luck.random()
    count = 0 if mood < 0.1 else len(kinds) if mood > 0.9 else luck.randint(1, 3)
    return [make(luck) for make in luck.sample(kinds, count)]


def _when(luck: random.Random) -> dict[str, Any]:
    if luck.random() < 0.7:
        return {"edge": luck.choice(_EDGES), "nth": luck.randint(1, 4)}
    return {"at": f"{luck.uniform(1, 4):.3f}s"}


def _death(luck: random.Random) -> World:
    return {"kind": "worker_death", "target": "workers", **_when(luck), "restart_after": "1s"}


def _pause(luck: random.Random) -> World:
    return {"kind": "worker_pause", "target": "workers", **_when(luck), "for": f"{luck.choice([1, 3, 5, 8])}s"}


def _window(luck: random.Random, most_s: float = 5.0) -> World:
    return {"at": f"{luck.uniform(0, 3):.3f}s", "for": f"{luck.uniform(0.5, most_s):.3f}s"}


def _two_beats(luck: random.Random) -> World:
    return {"kind": "beat_doubled", **_window(luck, 20), "phase": f"{luck.choice([0, 1, 3, 200])}ms"}


def _redis(luck: random.Random) -> World:
    return {"kind": "broker_restart", **_window(luck), "messages": luck.choice(["kept", "lost"])}


def _lost(luck: random.Random) -> World:
    return {"kind": "wakeups_lost", **_window(luck), "probability": luck.choice([0.3, 1.0])}


def _stopped(luck: random.Random) -> World:
    return {"kind": "beat_stopped", **_window(luck)}


def _outage(luck: random.Random) -> World:
    return {"kind": "outage", **_window(luck)}


def _cut_off(luck: random.Random) -> World:
    return {"kind": "gateway_disconnect", **_window(luck), "fraction": luck.choice([0.5, 1.0])}
