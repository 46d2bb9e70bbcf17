"""For each kind of fault the function that inflicts it on the simulated world.

A fault is data in the scenario. Whatever it does is an activation in the log; one that never took hold leaves one with
`landed` 0. To add a fault: write its function in the file of its family, and list it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tem_sim.sim.faults import broker, clock, downstream, gateway, process, scheduler
from tem_sim.sim.faults.infliction import Infliction

INFLICT: dict[str, Callable[[Infliction, Any], None]] = {
    "outage": downstream.outage,
    "broker_restart": broker.broker_restart,
    "worker_death": process.worker_death,
    "worker_pause": process.worker_pause,
    "beat_stopped": scheduler.beat_stopped,
    "beat_doubled": scheduler.beat_doubled,
    "wakeups_lost": broker.wakeups_lost,
    "gateway_disconnect": gateway.gateway_disconnect,
    "clock_skew": clock.clock_skew,
    "clock_step": clock.clock_step,
    "clock_frozen": clock.clock_frozen,
    "clock_resolution": clock.clock_resolution,
    "leap_second": clock.leap_second,
}
