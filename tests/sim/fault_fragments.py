"""For each kind of fault the fragments of a scenario under which the pipeline's defaults are tried.

Sections given here are merged into `BASE`. Nothing of the pipeline is set, so its defaults are what is judged.
"""

from __future__ import annotations

from typing import Any

Sections = dict[str, Any]

# Two workers that are kept busy, some luck against them, users that come and go, and time to come to an end.
BASE: Sections = {
    "horizon": "15m",
    "arrivals": {"kind": "poisson", "rate": "8/s", "from": "0s", "until": "18s"},
    "pipeline": {},
    "workers": {"count": 2, "concurrency": 2},
    "handler": {"service_time": {"kind": "exponential", "mean": "250ms"}, "failure_rate": 0.1},
    "users": {"count": 20, "session": {"kind": "exponential", "mean": "60s"}, "away": "5s"},
}
LATE: Sections = {"broker": {"ack": "late"}}
REJECT: Sections = {"broker": {"ack": "late", "reject_on_worker_lost": True}}
CELERY: Sections = {"broker": {"ack": "late", "behaves_like": "celery-5.7"}}
SWEPT: Sections = {"broker": {"ack": "late", "visibility_timeout": "4s", "sweep_every": "1s"}}
# Faults of a database strike where there are statements.
APART: Sections = {"store": {"interleave": "statement"}}
# Nobody leaves and comes back, so that what was missed is made good by the gateway itself or not at all.
STAYING: Sections = {"users": {"count": 20}}


def window(kind: str, at: str = "8s", lasts: str = "10s", **keys: Any) -> Sections:
    """Return a fault that lasts for a while."""
    return {"faults": [{"kind": kind, "at": at, "for": lasts, **keys}]}


def strike(kind: str, **keys: Any) -> Sections:
    """Return a fault with a trigger."""
    return {"faults": [{"kind": kind, **keys}]}


BROKER: dict[str, list[Sections]] = {
    "broker_restart": [
        window("broker_restart", messages="lost"),
        window("broker_restart", messages="kept") | LATE,
        window("broker_restart", undone="3s", resubscribe_after="4s") | LATE,
        window("broker_restart", messages="kept") | CELERY,
    ],
    "broker_frozen": [window("broker_frozen"), window("broker_frozen", socket_timeout="1s") | LATE],
    "queue_full": [window("queue_full", lasts="17s"), window("queue_full", lasts="17s", policy="drop_oldest")],
    "wakeups_lost": [window("wakeups_lost"), window("wakeups_lost", probability=0.5)],
    "wakeups_duplicated": [window("wakeups_duplicated", gaps=["0s", "5ms", "100ms", "2s", "90s"]) | LATE],
    "wakeups_reordered": [window("wakeups_reordered", within="5s")],
    "wakeups_delayed": [window("wakeups_delayed", countdown="14s") | SWEPT],
    "publish_unanswered": [window("publish_unanswered"), window("publish_unanswered", probability=0.5)],
    "child_death": [
        *(strike("child_death", rate="0.5/s", until="20s") | sections for sections in ({}, LATE, SWEPT)),
        strike("child_death", edge="before_settle", nth=20, poison=True) | REJECT,
    ],
    "consumer_deaf": [
        {
            "faults": [
                {"kind": "consumer_deaf", "target": "workers", "at": "8s"},
                {"kind": "worker_death", "target": "workers", "at": "40s"},
            ]
        },
        strike("consumer_deaf", at="8s", **{"for": "20s"}) | LATE,
    ],
    "pop_then_die": [
        strike("pop_then_die", rate="0.3/s", until="20s", probability=1) | sections for sections in ({}, LATE, SWEPT)
    ],
}

NODES: dict[str, list[Sections]] = {
    "worker_death": [
        strike("worker_death", target="workers", rate="0.3/s", until="20s"),
        strike("worker_death", target="*", edge="after_commit_before_wake", nth=30),
        strike("worker_death", target="gateway", at="10s"),
        strike("worker_death", target="beat", edge="after_commit_before_wake", nth=3),
        strike("worker_death", target="workers", rate="0.3/s", until="15s", connection_closes_after="3s"),
    ],
    "worker_pause": [
        strike("worker_pause", target="worker-1", edge="before_settle", nth=9, **{"for": "90s"}),
        strike("worker_pause", target="*", at="10s", **{"for": "5s"}),
    ],
    "worker_stop": [strike("worker_stop", at="10s", grace="2s"), strike("worker_stop", at="10s", grace="0s") | LATE],
    "out_of_memory": [
        window("out_of_memory", probability=0.2),
        window("out_of_memory", probability=0.2, kills="child"),
    ],
    "worker_slow": [window("worker_slow", target="*", factor=20)],
    "old_version": [window("old_version", target="worker-1", isolation="batch")],
    "forked_seed": [window("forked_seed", target="workers")],
    "clock_skew": [
        window("clock_skew", target="worker-1", skew="-90s"),
        window("clock_skew", target="beat", skew="90s", drift="200ppm"),
    ],
    "clock_step": [
        strike("clock_step", target="workers", at="10s", step="-40s"),
        strike("clock_step", target="workers", edge="after_handle", nth=9, step="-90s"),
        strike("clock_step", target="workers", rate="0.3/s", until="25s", step="40s"),
        strike("clock_step", target="beat", at="10s", step="90s", corrected_after="15s"),
        strike("clock_step", target="beat", at="10s", step="-90s", corrected_after="off"),
    ],
    "clock_frozen": [window("clock_frozen", target="*"), window("clock_frozen", target="worker-1")],
    "clock_resolution": [window("clock_resolution", target="*", resolution="1s")],
    "leap_second": [window("leap_second", target="*", leap=-1)],
    "beat_stopped": [window("beat_stopped", lasts="40s"), window("beat_stopped", missed="fired")],
    "beat_doubled": [window("beat_doubled", lasts="30s", more=2, phase="2ms")],
    "beat_late": [
        window("beat_late", lasts="30s", by="4s", overlap=True),
        window("beat_late", lasts="30s", by={"kind": "exponential", "mean": "3s"}, overlap=True),
        window("beat_late", lasts="30s", by="4s"),
    ],
    "beat_misrouted": [window("beat_misrouted", lasts="30s")],
    "swizzle": [window("swizzle", lasts="18s"), window("swizzle", lasts="60s", target="*", fraction=1)],
    "rolling_restart": [
        window("rolling_restart", lasts="18s", grace="1s"),
        window("rolling_restart", lasts="18s", grace="0s") | LATE,
    ],
    "bisect": [window("bisect", lasts="30s", skew="-70s")],
    "flap": [
        window("flap", lasts="30s", target="workers", every="6s", by="death"),
        window("flap", at="2s", lasts="4m", target="worker-1", every="60s", down=0.9),
    ],
    "correlated": [window("correlated", messages="lost"), window("correlated", messages="kept") | LATE],
    "metastable_kick": [window("metastable_kick", factor=100, events=50)],
}

DELIVERY: dict[str, list[Sections]] = {
    "gateway_disconnect": [
        window("gateway_disconnect"),
        window("gateway_disconnect", fraction=0.5),
        window("gateway_disconnect", reconnect_within="0s") | STAYING,
    ],
    "subscriber_gap": [
        window("subscriber_gap"),
        *(window("subscriber_gap", counted=counted) | STAYING for counted in (True, False)),
    ],
    "notifications_doubled": [
        window("notifications_doubled", after="3s"),
        window("notifications_doubled", how="unanswered", probability=0.5) | STAYING,
    ],
    # It takes two publishers.
    "notifications_reordered": [
        {
            "faults": [
                {"kind": "notifications_reordered", "at": "8s", "for": "10s", "within": "1s"},
                {"kind": "beat_doubled", "at": "5s", "for": "20s", "phase": "100ms"},
            ]
        }
    ],
    "sockets_half_open": [window("sockets_half_open"), window("sockets_half_open", lasts="1s") | STAYING],
    "slow_consumers": [
        window("slow_consumers", buffer=2, read_every="1s", policy=policy) | users
        for policy in ("drop", "close")
        for users in ({}, STAYING)
    ],
    "users_offline": [window("users_offline", fraction=0.7), window("users_offline", lasts="60s") | STAYING],
    "acks_lost": [window("acks_lost"), window("acks_lost") | STAYING],
    "routing_stale": [window("routing_stale"), window("routing_stale", fraction=1) | STAYING],
    "read_lag": [window("read_lag", lag="2s")],
}

WORKLOAD: dict[str, list[Sections]] = {
    "outage": [window("outage")],
    "flaky": [window("flaky")],
    "downstream_slow": [
        window("downstream_slow", factor=20),
        # Longer than a lease.
        window("downstream_slow", lasts="3s", factor=1, extra="90s", probability=0.1),
    ],
    "partial_effect": [window("partial_effect")],
    "answers_lost": [window("answers_lost", probability=0.5), window("answers_lost")],
    "hot_key": [window("hot_key")],
    "huge_events": [window("huge_events", payload_bytes=20_000)],
}

DATABASE: dict[str, list[Sections]] = {
    "database_down": [
        window("database_down") | APART,
        window("database_down", target="workers") | APART,
        window("database_down", target="gateway") | APART,
    ],
    "connections_dropped": [
        strike("connections_dropped", rate="2/s", until="20s") | APART,
        *(
            strike("connections_dropped", edge=edge, nth=nth) | APART
            for edge in ("before_statement", "after_statement", "before_commit", "after_commit")
            for nth in (150, 151, 400)
        ),
    ],
    "commit_unanswered": [window("commit_unanswered", probability=0.3, committed=done) | APART for done in (0, 0.5, 1)],
    "database_errors": [
        window("database_errors", error=error, probability=0.2, point=point) | APART
        for error, point in [
            ("connection_lost", "after_statement"),
            ("disk_full", "before_commit"),
            ("read_only", "before_statement"),
        ]
    ],
    "database_slow": [
        window("database_slow", factor=30) | APART,
        window("database_slow", factor=300, spread=2),
        window("database_slow", serves=1, factor=10) | APART,
    ],
    "pool_exhausted": [
        window("pool_exhausted") | APART,
        window("pool_exhausted") | {"store": {"interleave": "statement", "pool": {"size": 2, "timeout": "1s"}}},
    ],
    "database_locked": [
        window("database_locked") | APART,
        window("database_locked", lasts="50s") | APART,
        window("database_locked") | {"store": {"interleave": "statement", "lock_timeout": "2s"}},
    ],
    # A replica takes over that has all there was: what one that lags has not got is gone whatever the pipeline does.
    "failover": [window("failover") | APART],
}

FRAGMENTS = {**BROKER, **NODES, **DELIVERY, **WORKLOAD, **DATABASE}
