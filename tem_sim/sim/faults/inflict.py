"""For each kind of fault the function that inflicts it on the simulated world.

A fault is data in the scenario. Whatever it does is an activation in the log; one that never took hold leaves one with
`landed` 0. To add a fault: write its function in the file of its family, and list it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tem_sim.sim.faults import (
    broker,
    clock,
    code,
    composite,
    consumers,
    database,
    delivery,
    downstream,
    process,
    scheduler,
    wakeups,
    workload,
)
from tem_sim.sim.faults.infliction import Infliction

INFLICT: dict[str, Callable[[Infliction, Any], None]] = {
    "outage": downstream.outage,
    "broker_restart": broker.broker_restart,
    "worker_death": process.worker_death,
    "worker_pause": process.worker_pause,
    "beat_stopped": scheduler.beat_stopped,
    "beat_doubled": scheduler.beat_doubled,
    "wakeups_lost": wakeups.wakeups_lost,
    "gateway_disconnect": delivery.gateway_disconnect,
    "clock_skew": clock.clock_skew,
    "clock_step": clock.clock_step,
    "clock_frozen": clock.clock_frozen,
    "clock_resolution": clock.clock_resolution,
    "leap_second": clock.leap_second,
    "worker_stop": process.worker_stop,
    "out_of_memory": process.out_of_memory,
    "worker_slow": process.worker_slow,
    "old_version": code.old_version,
    "forked_seed": code.forked_seed,
    "beat_late": scheduler.beat_late,
    "beat_misrouted": scheduler.beat_misrouted,
    "swizzle": composite.in_parts,
    "rolling_restart": composite.in_parts,
    "bisect": composite.in_parts,
    "flap": composite.in_parts,
    "correlated": composite.correlated,
    "metastable_kick": composite.metastable_kick,
    "broker_frozen": broker.broker_frozen,
    "queue_full": broker.queue_full,
    "wakeups_duplicated": wakeups.wakeups_duplicated,
    "wakeups_reordered": wakeups.wakeups_reordered,
    "wakeups_delayed": wakeups.wakeups_delayed,
    "publish_unanswered": wakeups.publish_unanswered,
    "child_death": consumers.child_death,
    "consumer_deaf": consumers.consumer_deaf,
    "pop_then_die": consumers.pop_then_die,
    "database_down": database.database_down,
    "connections_dropped": database.connections_dropped,
    "commit_unanswered": database.commit_unanswered,
    "database_errors": database.database_errors,
    "database_slow": database.database_slow,
    "pool_exhausted": database.pool_exhausted,
    "database_locked": database.database_locked,
    "failover": database.failover,
    "subscriber_gap": delivery.subscriber_gap,
    "notifications_doubled": delivery.notifications_doubled,
    "notifications_reordered": delivery.notifications_reordered,
    "sockets_half_open": delivery.sockets_half_open,
    "slow_consumers": delivery.slow_consumers,
    "users_offline": delivery.users_offline,
    "acks_lost": delivery.acks_lost,
    "routing_stale": delivery.routing_stale,
    "read_lag": delivery.read_lag,
    "flaky": workload.flaky,
    "downstream_slow": workload.downstream_slow,
    "partial_effect": workload.partial_effect,
    "answers_lost": workload.answers_lost,
    "hot_key": workload.hot_key,
    "huge_events": workload.huge_events,
}
