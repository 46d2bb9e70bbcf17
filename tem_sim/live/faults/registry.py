"""For each kind of fault how it is inflicted for real, or why it cannot be.

To add a way to inflict one: write its function in the file of its family, and list it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tem_sim.live.faults import broker, composite, database, delivery, process, refusals, scheduler, workload
from tem_sim.live.faults.infliction import Infliction
from tem_sim.live.faults.refusals import Ground
from tem_sim.scenario.base import Broken

Rule = Callable[[Any, Ground], Iterable[Broken]]


@dataclass(frozen=True, slots=True)
class Inflicted:
    """A kind that is inflicted for real: by this function, in these words, unless a rule forbids it."""

    inflict: Callable[[Infliction, Any], None]
    how: str
    rules: Sequence[Rule] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A kind that cannot be inflicted, and why; `instead` is what comes near."""

    why: str
    instead: str = ""


_CLOCK = Refused("All processes read the clock of one machine, which is not the system's to set.")
_WAKEUP = Refused(
    "A wake-up goes straight from Celery's client to Redis; nothing of the system's own is in between.",
    "broker_restart with messages: lost",
)
_SERVER = Refused(
    "The database server is not the system's own, and nothing of the system's own stands between it and a process.",
    "connections_dropped",
)
_ONE_SETTING = Refused(
    "A process has its settings from its start on, and only another process could have others.",
)
_TICKS = Refused("Celery's beat sends its ticks by a schedule that it has from its start on.", "beat_stopped")

_OWN_REDIS = (refusals.needs_own_redis,)
_AT_EDGE = (refusals.no_statement_edges,)

LIVE: dict[str, Inflicted | Refused] = {
    "outage": Inflicted(workload.outage, "The downstream, a process of its own, refuses every call."),
    "broker_restart": Inflicted(
        broker.broker_restart,
        "The system's own Redis is killed (SIGKILL), and started again with its append-only file, or empty.",
        (*_OWN_REDIS, refusals.nothing_undone),
    ),
    "worker_death": Inflicted(
        process.worker_death,
        "SIGKILL of a node's whole process group, at an edge while it waits there.",
        (*_AT_EDGE, refusals.connections_close_at_once),
    ),
    "worker_pause": Inflicted(
        process.worker_pause, "SIGSTOP of a node's whole process group, and SIGCONT when it is over.", _AT_EDGE
    ),
    "beat_stopped": Inflicted(
        scheduler.beat_stopped, "The scheduler is killed, and started again when it is over.", (refusals.ticks_skipped,)
    ),
    "beat_doubled": Inflicted(
        scheduler.beat_doubled,
        "More Celery beats are started. How far they are out of phase is as it falls, whatever `phase` says.",
    ),
    "wakeups_lost": _WAKEUP,
    "gateway_disconnect": Inflicted(
        delivery.gateway_disconnect,
        "The gateway is killed and started again when it is over; with a fraction below 1 sockets are cut at the "
        "users' end.",
    ),
    "clock_skew": _CLOCK,
    "clock_step": _CLOCK,
    "clock_frozen": _CLOCK,
    "clock_resolution": _CLOCK,
    "leap_second": _CLOCK,
    "worker_stop": Inflicted(
        process.worker_stop,
        "SIGTERM, which Celery takes as a warm shutdown, and SIGKILL of what is left after `grace`.",
        _AT_EDGE,
    ),
    "out_of_memory": Refused(
        "Who is killed for want of memory is the kernel's choice, and would not keep to the system.",
        "handler.kinds with effect: kill",
    ),
    "worker_slow": Refused(
        "A process that is slowed from outside is paused again and again; its sleeps take no longer.", "worker_pause"
    ),
    "old_version": _ONE_SETTING,
    "forked_seed": Refused("The processes of a worker draw their jitter by the event's name, and share no generator."),
    "beat_late": _TICKS,
    "beat_misrouted": _TICKS,
    "swizzle": Inflicted(composite.in_parts, "As worker_pause, node by node."),
    "rolling_restart": Inflicted(composite.in_parts, "As worker_stop, worker by worker."),
    "bisect": _CLOCK,
    "flap": Inflicted(composite.in_parts, "As worker_pause or worker_death, again and again."),
    "correlated": Inflicted(
        composite.correlated, "As broker_restart, and a worker with a task in hand is killed.", _OWN_REDIS
    ),
    "metastable_kick": Inflicted(
        composite.metastable_kick,
        "The crowd arrives. The database cannot be slowed: only with factor: 1.",
        (refusals.database_not_slowed,),
    ),
    "broker_frozen": Inflicted(
        broker.broker_frozen,
        "SIGSTOP of the system's own Redis, and SIGCONT when it is over; an answer is waited for 2 s, and a wake-up "
        "is sent 4 times before it is given up, which takes up to 11 s.",
        (*_OWN_REDIS, refusals.clients_timeout),
    ),
    "queue_full": Refused(
        "Redis counts bytes, not wake-ups; short of memory it would refuse everybody else's writes as well.",
    ),
    "wakeups_duplicated": _WAKEUP,
    "wakeups_reordered": _WAKEUP,
    "wakeups_delayed": _WAKEUP,
    "publish_unanswered": _WAKEUP,
    "child_death": Inflicted(
        process.child_death,
        "SIGKILL of one process of a worker's pool that has a task in hand, or passes an edge.",
        (*_AT_EDGE, refusals.needs_children, refusals.no_poison),
    ),
    "consumer_deaf": Refused(
        "A worker takes from its queue as long as it is connected: Celery's remote control is off.", "worker_pause"
    ),
    "pop_then_die": Refused(
        "The moment lies within Celery's own code, where nothing can lie in wait.", "worker_death at edge: before_claim"
    ),
    "database_down": _SERVER,
    "connections_dropped": Inflicted(
        database.connections_dropped,
        "`pg_terminate_backend` of a node's connections, told by their application name.",
        (*_AT_EDGE, refusals.needs_postgresql),
    ),
    "commit_unanswered": _SERVER,
    "database_errors": _SERVER,
    "database_slow": _SERVER,
    "pool_exhausted": Refused("A process's pool is its own, and cannot be taken from outside.", "database_locked"),
    "database_locked": Inflicted(
        database.database_locked,
        "A connection from outside holds `LOCK TABLE … IN EXCLUSIVE MODE`, on SQLite a `BEGIN IMMEDIATE`.",
    ),
    "failover": _SERVER,
    "subscriber_gap": Inflicted(
        broker.subscriber_gap,
        "The gateway's subscription is cut, and the system's own Redis lets nobody subscribe until it is over (ACL).",
        (*_OWN_REDIS, refusals.nobody_counted),
    ),
    "notifications_doubled": Refused(
        "A notification goes straight from its publisher to Redis; nothing of the system's own is in between."
    ),
    "notifications_reordered": Refused(
        "A notification goes straight from its publisher to Redis; nothing of the system's own is in between."
    ),
    "sockets_half_open": Inflicted(
        delivery.sockets_half_open, "Users' clients keep their sockets, read nothing, and answer no ping."
    ),
    "slow_consumers": Inflicted(
        delivery.slow_consumers,
        "Users' clients read slowly or not at all. The gateway's own limits hold, whatever `buffer` says.",
        (refusals.nothing_closed,),
    ),
    "users_offline": Inflicted(delivery.users_offline, "Users' clients cut their sockets and do not dial."),
    "acks_lost": Inflicted(delivery.acks_lost, "Users' clients show a notification and send no acknowledgement."),
    "routing_stale": Refused("There is one gateway, and nothing to be routed."),
    "read_lag": Refused("There is one database and no replica."),
    "flaky": Inflicted(workload.flaky, "The downstream fails calls, the same ones as in the simulator."),
    "downstream_slow": Inflicted(workload.downstream_slow, "The downstream takes longer over calls."),
    "partial_effect": Inflicted(workload.partial_effect, "The downstream does its work, and says that it failed."),
    "answers_lost": Inflicted(
        workload.answers_lost, "The load's clients throw the API's answer away, and send the same request again."
    ),
    "hot_key": Inflicted(workload.hot_key, "The load's clients submit for one user, or events of one kind."),
    "huge_events": Inflicted(
        workload.huge_events,
        "The load's clients submit events with a payload of that size, and calls for them take longer.",
    ),
}
