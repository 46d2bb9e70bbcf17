"""The pipeline's defaults survive every kind of fault: nothing lost, nothing illegal, nothing stuck.

Each family adds its kinds to `FAULTS`, a list of fragments for each: sections of a scenario that are merged into the
base. Nothing of the pipeline is set but for the names given, so its defaults are what is judged. Effects that
at-least-once allows to happen twice are no failure.
"""

from __future__ import annotations

from typing import Any

import pytest
from sim_worlds import run

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.scenario.faults.kinds import KINDS

Sections = dict[str, Any]

# Two workers that are kept busy, some luck against them, users that come and go, and time to come to an end.
BASE: Sections = {
    "horizon": "15m",
    "arrivals": {"kind": "poisson", "rate": "8/s", "from": "0s", "until": "25s"},
    "pipeline": {},
    "workers": {"count": 2, "concurrency": 2},
    "handler": {"service_time": {"kind": "exponential", "mean": "250ms"}, "failure_rate": 0.1},
    "users": {"count": 20, "session": {"kind": "exponential", "mean": "60s"}, "away": "5s"},
}
LATE: Sections = {"broker": {"ack": "late"}}
REJECT: Sections = {"broker": {"ack": "late", "reject_on_worker_lost": True}}
CELERY: Sections = {"broker": {"ack": "late", "behaves_like": "celery-5.7"}}
SWEPT: Sections = {"broker": {"ack": "late", "visibility_timeout": "4s", "sweep_every": "1s"}}


def window(kind: str, at: str = "8s", lasts: str = "10s", **keys: Any) -> Sections:
    return {"faults": [{"kind": kind, "at": at, "for": lasts, **keys}]}


def strike(kind: str, **keys: Any) -> Sections:
    return {"faults": [{"kind": kind, **keys}]}


FAULTS: dict[str, list[Sections]] = {
    # --- broker
    "broker_restart": [
        window("broker_restart", messages="lost"),
        window("broker_restart", messages="kept") | LATE,
        window("broker_restart", undone="3s", resubscribe_after="4s") | LATE,
        window("broker_restart", messages="kept") | CELERY,
    ],
    "broker_frozen": [window("broker_frozen"), window("broker_frozen", socket_timeout="1s") | LATE],
    "queue_full": [window("queue_full", room=1), window("queue_full", room=1, policy="drop_oldest")],
    "wakeups_lost": [window("wakeups_lost"), window("wakeups_lost", probability=0.5)],
    "wakeups_duplicated": [window("wakeups_duplicated", gaps=["0s", "5ms", "100ms", "2s", "90s"]) | LATE],
    "wakeups_reordered": [window("wakeups_reordered", within="5s")],
    "wakeups_delayed": [window("wakeups_delayed", countdown="14s") | SWEPT],
    "publish_unanswered": [window("publish_unanswered"), window("publish_unanswered", probability=0.5)],
    "child_death": [strike("child_death", rate="0.5/s", until="20s") | sections for sections in ({}, LATE, SWEPT)]
    + [strike("child_death", edge="before_settle", nth=20, poison=True) | REJECT],
    "consumer_deaf": [
        {
            "faults": [
                {"kind": "consumer_deaf", "target": "workers", "at": "8s"},
                {"kind": "worker_death", "target": "workers", "at": "40s"},
            ]
        },
        strike("consumer_deaf", at="8s", **{"for": "20s"}) | LATE,
    ],
    "pop_then_die": [strike("pop_then_die", rate="0.3/s", until="20s", probability=1) | s for s in ({}, LATE, SWEPT)],
}
# Kinds whose families have not yet added their rows.
OWED = {
    "outage",
    "worker_death",
    "worker_pause",
    "beat_stopped",
    "beat_doubled",
    "gateway_disconnect",
    "clock_skew",
    "clock_step",
    "clock_frozen",
    "clock_resolution",
    "leap_second",
    "worker_stop",
    "out_of_memory",
    "worker_slow",
    "old_version",
    "forked_seed",
    "beat_late",
    "beat_misrouted",
    "swizzle",
    "rolling_restart",
    "bisect",
    "flap",
    "correlated",
}

CASES = [
    pytest.param(fragment, id=f"{kind}-{number}")
    for kind, fragments in FAULTS.items()
    for number, fragment in enumerate(fragments)
]


def lost_or_stuck(of: Run) -> dict[str, float]:
    """Return what must be 0 and is not; an event out of retries is neither lost nor stuck."""
    found = metrics(of)
    asked = ("lost_events", "in_flight", "stuck_rows", "lost_notifications", "duplicate_notifications")
    return {name: float(found[name]) for name in asked if found[name] != 0}


def judged(of: Run) -> list[str]:
    """Return the checks that a run breaks."""
    return [f"{check.name}: {check.detail}" for check in run_checks(of) if check.verdict == "false"]


@pytest.mark.parametrize("fragment", CASES)
def test_nothing_is_lost_illegal_or_stuck(fragment: Sections) -> None:
    done = run(**{**BASE, "store": {"watch": True}, **fragment})
    assert judged(done) == []
    assert lost_or_stuck(done) == {}
    assert done.faults["landed"].sum() > 0


@pytest.mark.parametrize("fragment", CASES)
def test_nor_is_it_between_the_statements(fragment: Sections) -> None:
    store = {"interleave": "statement", **fragment.get("store", {})}
    arrivals = {"kind": "poisson", "rate": "8/s", "from": "2s", "until": "15s"}
    done = run(**{**BASE, "seed": 2, "arrivals": arrivals, **fragment, "store": store})
    assert judged(done) == []
    assert lost_or_stuck(done) == {}


def test_without_the_sweep_a_lost_wakeup_is_an_event_stuck() -> None:
    lost = window("wakeups_lost", at="20s")
    done = run(**{**BASE, **lost, "pipeline": {"sweep_after": "off"}})
    assert set(lost_or_stuck(done)) >= {"in_flight", "stuck_rows"}
    assert any(broken.startswith("liveness") for broken in judged(done))


def test_every_kind_of_fault_is_there_or_owed() -> None:
    assert set(KINDS) == set(FAULTS) | OWED
    assert not OWED & set(FAULTS)
