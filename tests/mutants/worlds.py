"""The worlds of a campaign, each a scenario as data: small, quick to come to an end, and no two of a kind.

Leases, sweeps and ticks are a few seconds, so that what is stuck is known to be within a minute of simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

World = dict[str, Any]

# A happy event, one that fails twice and then succeeds, and one that never does.
_KINDS = {"normal": {}, "twice": {"fail_first": 2}, "poison": {"effect": "fail"}}

BASE: World = {
    "scenario": "mutants",
    "horizon": "80s",
    "arrivals": [{"kind": "burst", "at": "1s", "events": 7}, {"kind": "burst", "at": "9s", "events": 2}],
    "events": {"kinds": {"normal": 1, "twice": 1, "poison": 1}, "payload_bytes": 8},
    "pipeline": {
        "backoff": {"growth": "exponential", "base": "1s", "jitter": "full", "max_retries": 2},
        "batch_size": 3,
        "settle_every": 2,
        "lease": "3s",
        "sweep_after": "4s",
        "crash_budget": 2,
    },
    "workers": {"count": 2, "concurrency": 1, "startup": "100ms", "restart_after": "1s"},
    "beat": {"retry_every": "500ms", "rescue_every": "1s", "relay_every": "500ms"},
    "broker": {"visibility_timeout": "10s", "sweep_every": "5s"},
    "store": {"latency": "2ms", "watch": True},
    "handler": {"service_time": "200ms", "kinds": _KINDS},
    "users": {"count": 12},
}


def world(base: World = BASE, **sections: Any) -> World:
    """Return a world with some sections changed, one level deep; what is no mapping replaces."""
    made = deepcopy(base)
    for name, section in sections.items():
        merges = isinstance(section, Mapping) and isinstance(made.get(name), dict) and name != "arrivals"
        made[name] = {**made[name], **section} if merges else section
    return made


def _backoff(**changes: Any) -> World:
    return {"backoff": {**BASE["pipeline"]["backoff"], **changes}}


# In these nothing goes wrong but what handlers do, workers are idle most of the time, and the sweep is too far off to
# hide that nobody was woken: each step comes at once (`calm`).
_CALM = world(pipeline={"lease": "5s", "sweep_after": "50s"}, beat={"retry_every": "1s"})
CALM: dict[str, World] = {
    "plain": world(_CALM),
    "one by one": world(_CALM, pipeline={"batch_size": 1, "settle_every": 1}, workers={"count": 4, "concurrency": 2}),
    "full batches": world(
        _CALM,
        arrivals={"kind": "burst", "at": "1s", "events": 12},
        pipeline={"batch_size": 4, "settle_every": 50, **_backoff(growth="fixed", base="2s", jitter="none")},
        handler={"service_time": "50ms"},
    ),
    "long handlers": world(
        _CALM,
        arrivals={"kind": "burst", "at": "1s", "events": 5},
        pipeline={"batch_size": 5, "settle_every": 5, "lease": "2s"},
        workers={"count": 3},
        beat={"rescue_every": "200ms"},
        handler={"service_time": "900ms"},
    ),
    "limits": world(
        _CALM,
        arrivals={"kind": "burst", "at": "1s", "events": 9},
        events={"kinds": {"once": 1}, "payload_bytes": 8},
        pipeline={
            "requeue_limit": 2,
            "relay_limit": 1,
            "settle_every": 1,
            **_backoff(growth="fixed", base="1s", jitter="none"),
        },
        handler={"service_time": "50ms", "kinds": {"once": {"fail_first": 1}}},
    ),
    "decorrelated": world(_CALM, pipeline=_backoff(jitter="decorrelated", cap="4s", max_retries=4)),
    "time budget": world(_CALM, pipeline=_backoff(jitter="none", max_retries=9, budget="5s")),
    "sent twice": world(_CALM, events={"duplicate_submits": 1.0}),
    "few users online": world(
        _CALM,
        users={"count": 4, "connected": 0.4, "session": {"kind": "constant", "value": "4s"}, "away": "3s"},
    ),
}

# Settings of their own, without a fault, in which waiting is no wonder.
SETTINGS: dict[str, World] = {
    "deadline": world(
        arrivals=[{"kind": "burst", "at": f"{at_s}s", "events": 3} for at_s in range(1, 6)],
        pipeline={"deadline": "4s", "batch_size": 6, "lease": "9s", **_backoff(jitter="none", max_retries=6)},
        workers={"count": 1},
        handler={"service_time": "600ms"},
    ),
    "killers": world(
        events={"kinds": {"normal": 2, "killer": 1}},
        handler={"service_time": "200ms", "kinds": {"killer": {"effect": "kill"}}},
    ),
    "new first": world(
        arrivals={"kind": "poisson", "rate": "4/s", "from": "1s", "until": "5s"},
        pipeline={"claim_order": "new_first"},
    ),
    "newest first": world(
        arrivals={"kind": "poisson", "rate": "4/s", "from": "1s", "until": "5s"},
        pipeline={"claim_order": "newest_first"},
    ),
    "version": world(pipeline={"write_guard": "version"}),
    "row lock": world(pipeline={"write_guard": "row_lock"}),
    "one at a time": world(pipeline={"concurrency_limit": 1}, workers={"count": 3}),
    "few retries": world(pipeline={"retry_budget": {"ratio": 0.1, "floor": "1/s", "burst": 2}}),
    "breaker": world(
        pipeline={"breaker": {"minimum_calls": 4, "window": "5s", "cool_down": "2s", "probes": 2}},
        faults=[{"kind": "outage", "at": "1s", "for": "4s"}],
    ),
    "shedding": world(pipeline={"shedding": {"above": 4, "retry_after": "2s"}}, api={"batch": 3, "retries": 9}),
    "busy": world(
        arrivals={"kind": "poisson", "rate": "8/s", "from": "1s", "until": "4s"},
        workers={"count": 2, "concurrency": 2},
    ),
}

_EDGES = ("before_claim", "after_claim", "before_handle", "after_handle", "before_settle", "after_settle")
_BEAT_EDGES = ("after_commit_before_wake", "before_publish", "after_publish")


def _of_workers() -> Iterator[tuple[str, World]]:
    for edge in _EDGES:
        for nth in (1, 3, 6):
            yield f"kill at {edge} {nth}", {"kind": "worker_death", "target": "workers", "edge": edge, "nth": nth}
        for pause_s in (2.9, 4.5, 9):
            fault = {"kind": "worker_pause", "target": "workers", "edge": edge, "nth": 2, "for": f"{pause_s}s"}
            yield f"pause {pause_s:g} s at {edge}", fault


def _of_beats() -> Iterator[tuple[str, World]]:
    for edge in _BEAT_EDGES:
        for nth in (1, 2):
            fault = {"kind": "worker_death", "target": "beat", "edge": edge, "nth": nth, "restart_after": "1s"}
            yield f"kill beat at {edge} {nth}", fault
        yield f"pause beat at {edge}", {"kind": "worker_pause", "target": "beat", "edge": edge, "for": "2s"}
    yield "beat stopped", {"kind": "beat_stopped", "at": "1.5s", "for": "8s"}
    for phase_s in (0.0, 0.001, 0.003, 0.25):
        fault = {"kind": "beat_doubled", "at": "0s", "for": "30s", "phase": f"{phase_s}s"}
        yield f"two beats, {phase_s:g} s apart", fault


def _of_the_rest() -> Iterator[tuple[str, World]]:
    api = {"kind": "worker_death", "target": "api", "edge": "after_commit_before_wake", "restart_after": "1s"}
    yield "kill api", api
    for messages in ("kept", "lost"):
        yield f"redis away, {messages}", {"kind": "broker_restart", "at": "1.1s", "for": "3s", "messages": messages}
        yield f"redis away later, {messages}", {"kind": "broker_restart", "at": "2s", "for": "1s", "messages": messages}
    yield "redis away at first", {"kind": "broker_restart", "at": "0.9s", "for": "3s", "messages": "lost"}
    yield "wake-ups lost", {"kind": "wakeups_lost", "at": "0s", "for": "6s", "probability": 1.0}
    yield "outage", {"kind": "outage", "at": "1s", "for": "3s"}
    for fraction in (1.0, 0.5):
        fault = {"kind": "gateway_disconnect", "at": "1.2s", "for": "4s", "fraction": fraction}
        yield f"{fraction:.0%} of users cut off", fault
    for target in ("beat", "worker-1"):
        for skew in ("-2s", "2s"):
            fault = {"kind": "clock_skew", "target": target, "at": "0s", "for": "40s", "skew": skew}
            yield f"clock of {target} {skew}", fault


# One thing goes wrong, once, and no later event comes whose wake-up would help the others.
_ONCE = world(arrivals={"kind": "burst", "at": "1s", "events": 7}, heal_at="15s")
# Where a handler takes as long as a third of its lease, another is still at it when a worker wakes that has lost it.
_SLOW = world(_ONCE, handler={"service_time": "1100ms"}, pipeline={"settle_every": 3})


def _of_slow_ones() -> Iterator[tuple[str, World]]:
    for edge in ("after_claim", "after_handle"):
        for pause_s in (3.4, 4.8):
            fault = {"kind": "worker_pause", "target": "workers", "edge": edge, "for": f"{pause_s}s"}
            yield f"slow, pause {pause_s:g} s at {edge}", fault


FAULTS: dict[str, World] = {
    name: world(_ONCE, faults=[fault]) for name, fault in (*_of_workers(), *_of_beats(), *_of_the_rest())
}
FAULTS |= {name: world(_SLOW, faults=[fault]) for name, fault in _of_slow_ones()}
# A few events, all in one batch, statement by statement: what a sweep of single faults is also made over.
SEVERAL: World = world(
    scenario="several",
    arrivals={"kind": "burst", "at": "500ms", "events": 3},
    store={"interleave": "statement"},
    stop="drained",
)
