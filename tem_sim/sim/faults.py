"""How each fault of a scenario is inflicted on the simulated world, and what became of it.

A fault is data in the scenario. `INFLICT` names, for each kind, the function that schedules it. Whatever it does is an
activation in the log, with its times as they happened; a fault that never took hold leaves one with `landed` 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tem_sim.sim.kernel import Node
from tem_sim.sim.ports import Strike

if TYPE_CHECKING:
    from tem_sim.scenario.faults import (
        BeatDoubled,
        BeatStopped,
        BrokerRestart,
        ClockSkew,
        Fault,
        GatewayDisconnect,
        Outage,
        WakeupsLost,
        WorkerDeath,
        WorkerPause,
    )
    from tem_sim.sim.world import World


@dataclass(slots=True)
class Activation:
    """One time that a fault struck."""

    fault_id: int
    kind: str
    target: str
    shade: str
    start_s: float = math.nan
    end_s: float = math.nan
    landed: int = 0
    detail: str = ""


@dataclass
class FaultLog:
    """All activations of a run, in the order in which they began."""

    activations: list[Activation] = field(default_factory=list)
    open: list[Callable[[], None]] = field(default_factory=list)

    def begin(self, number: int, fault: Fault, target: str, now: float) -> Activation:
        """Log that a fault begins; the caller fills in how it ends."""
        activation = Activation(number, fault.kind, target, fault.shade, start_s=now)
        self.activations.append(activation)
        return activation

    def close(self, faults: tuple[Fault, ...], now: float) -> None:
        """End what is still open with the run, and add a row for each fault that never struck."""
        for stop in self.open:
            stop()
        for activation in self.activations:
            if math.isnan(activation.end_s):
                activation.end_s = now
        struck = {activation.fault_id for activation in self.activations}
        for number, fault in enumerate(faults):
            if number not in struck:
                never = Activation(number, fault.kind, fault.target, fault.shade, detail="never reached")
                self.activations.append(never)


class Infliction:
    """One fault at work in one world."""

    def __init__(self, world: World, number: int, fault: Any) -> None:
        self.world = world
        self.number = number
        self.fault = fault
        self.luck = world.streams.stream("fault", number)

    def window(self, begin: Callable[[], str], end: Callable[[], int]) -> None:
        """Do `begin` at the fault's time and `end` when it is over; they say what happened and how often it landed."""
        kernel, fault = self.world.kernel, self.fault

        def start() -> None:
            activation = self.log(fault.target)
            activation.detail = begin()

            def stop() -> None:
                if math.isnan(activation.end_s):
                    activation.landed = end()
                    activation.end_s = kernel.now

            self.world.faults.open.append(stop)
            kernel.call_later(fault.for_s, stop)

        kernel.call_later(fault.at_s, start)

    def log(self, target: str) -> Activation:
        """Log that the fault strikes a target now."""
        return self.world.faults.begin(self.number, self.fault, target, self.world.kernel.now)

    def nodes(self) -> list[Node]:
        """Return the nodes that the fault's target means."""
        return [self.world.kernel.node(name) for name in self.world.targets(self.fault.target)]

    def strike(self, act: Callable[[Node], None]) -> None:
        """Strike the target nodes at the fault's time, at a random rate, or at a lifecycle edge."""
        kernel, fault = self.world.kernel, self.fault
        if fault.edge is not None:
            names = frozenset(node.name for node in self.nodes())
            self.world.failpoints.arm(fault.edge, Strike(names, fault.nth, act))
        elif fault.rate_per_s is not None:
            self._strike_at_random(act)
        else:
            kernel.call_later(fault.at_s, lambda: self._strike_all(act))

    def _strike_all(self, act: Callable[[Node], None]) -> None:
        for node in self.nodes():
            act(node)

    def _strike_at_random(self, act: Callable[[Node], None]) -> None:
        kernel, fault = self.world.kernel, self.fault
        until_s = self.world.scenario.horizon_s if fault.until_s is None else fault.until_s

        def next_strike(after_s: float) -> None:
            at_s = after_s - math.log(1.0 - self.luck.random()) / fault.rate_per_s
            if at_s < until_s:
                kernel.call_later(at_s - kernel.now, lambda: strike(at_s))

        def strike(at_s: float) -> None:
            nodes = self.nodes()
            # One draw per strike, dead targets or not, so that the times never depend on what the strikes did.
            node = nodes[int(self.luck.random() * len(nodes))]
            if node.alive:
                act(node)
            next_strike(at_s)

        next_strike(fault.start_s)


def _outage(at: Infliction, fault: Outage) -> None:
    dependency = at.world.dependency
    refused = 0

    def begin() -> str:
        nonlocal refused
        refused = dependency.refused_in_outage
        dependency.outages += 1
        return "every downstream call is refused"

    def end() -> int:
        dependency.outages -= 1
        return dependency.refused_in_outage - refused

    at.window(begin, end)


def _broker_restart(at: Infliction, fault: BrokerRestart) -> None:
    world = at.world
    keep = world.scenario.broker.durable if fault.messages is None else fault.messages == "kept"

    def begin() -> str:
        lost = world.broker.stop(keep_messages=keep)
        world.pubsub.up = False
        world.pubsub.subscriber = None
        return f"{lost} messages lost" if not keep else "messages kept"

    def end() -> int:
        world.broker.start()
        world.pubsub.up = world.broker.up
        if world.pubsub.up:
            world.gateway.resubscribe()
        return 1

    at.window(begin, end)


def _worker_death(at: Infliction, fault: WorkerDeath) -> None:
    world = at.world

    def kill(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        world.kill(node.name)
        if fault.restart_after_s is None:
            activation.detail = "not restarted"
            return
        world.kernel.call_later(fault.restart_after_s, lambda: restart(node.name, activation))

    def restart(name: str, activation: Activation) -> None:
        world.start_node(name)
        activation.end_s = world.kernel.now

    at.strike(kill)


def _worker_pause(at: Infliction, fault: WorkerPause) -> None:
    kernel = at.world.kernel

    def pause(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        node.pause(fault.for_s)

        def resumed() -> None:
            activation.end_s = kernel.now

        kernel.call_later(fault.for_s, resumed)

    at.strike(pause)


def _beat_stopped(at: Infliction, fault: BeatStopped) -> None:
    world = at.world

    def begin() -> str:
        world.hold_down(fault.target)
        return ""

    def end() -> int:
        world.let_up(fault.target)
        return 1

    at.window(begin, end)


def _beat_doubled(at: Infliction, fault: BeatDoubled) -> None:
    world = at.world

    def begin() -> str:
        world.start_second_beat(fault.phase_s)
        return f"a second scheduler, {fault.phase_s:g} s out of phase"

    def end() -> int:
        world.stop_second_beat()
        return 1

    at.window(begin, end)


def _wakeups_lost(at: Infliction, fault: WakeupsLost) -> None:
    broker = at.world.broker
    loss, lost = (fault.probability, at.luck), 0

    def begin() -> str:
        nonlocal lost
        lost = broker.lost_on_the_way
        broker.losses.append(loss)
        return f"each wake-up lost with probability {fault.probability:g}"

    def end() -> int:
        broker.losses.remove(loss)
        return broker.lost_on_the_way - lost

    at.window(begin, end)


def _gateway_disconnect(at: Infliction, fault: GatewayDisconnect) -> None:
    world, gateway = at.world, at.world.gateway
    dropped: list[Any] = []

    def begin() -> str:
        if fault.fraction >= 1.0:
            count = sum(user.connected for user in gateway.users.values())
            world.hold_down("gateway")
            return f"the gateway is gone, {count} sockets with it"
        dropped[:] = gateway.drop(fault.fraction)
        return f"{len(dropped)} sockets dropped"

    def end() -> int:
        if fault.fraction >= 1.0:
            world.let_up("gateway")
            return 1
        gateway.let_back(dropped)
        return len(dropped)

    at.window(begin, end)


def _clock_skew(at: Infliction, fault: ClockSkew) -> None:
    def begin() -> str:
        for node in at.nodes():
            node.clock.skew(fault.skew_s, fault.drift, by=at.number)
        drift = f", drifting {fault.drift * 1e6:+g} ppm" if fault.drift else ""
        return f"{fault.skew_s:+g} s{drift}"

    def end() -> int:
        for node in at.nodes():
            node.clock.correct(by=at.number)
        return len(at.nodes())

    at.window(begin, end)


INFLICT: dict[str, Callable[[Infliction, Any], None]] = {
    "outage": _outage,
    "broker_restart": _broker_restart,
    "worker_death": _worker_death,
    "worker_pause": _worker_pause,
    "beat_stopped": _beat_stopped,
    "beat_doubled": _beat_doubled,
    "wakeups_lost": _wakeups_lost,
    "gateway_disconnect": _gateway_disconnect,
    "clock_skew": _clock_skew,
}
