"""How workers and the queue come apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.faults.process import restart_later
from tem_sim.sim.kernel import Node

if TYPE_CHECKING:
    from tem_sim.scenario.faults.consumers import ChildDeath, ConsumerDeaf, PopThenDie
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.workers import Worker


def child_death(at: Infliction, fault: ChildDeath) -> None:
    world = at.world

    def kill(node: Node) -> None:
        worker = world.workers[node.name]
        activation = at.log(node.name)
        activation.end_s = world.kernel.now
        slot = _struck_slot(at, worker)
        if slot is None:
            activation.detail = "no task in hand"
            return
        activation.landed = 1
        activation.detail = f"{node.name}/{slot} killed"
        worker.kill_child(slot, poison=fault.poison)
        if fault.poison:
            at.later(None, harmless)

    def harmless() -> None:
        world.broker.poison_kills = False

    at.strike(kill)


def _struck_slot(at: Infliction, worker: Worker) -> int | None:
    """Return the slot that passes the edge just now, or one of those that have a task in hand."""
    thread = at.world.kernel.current
    if thread is not None:
        return int(thread.name.rpartition("/")[2])
    busy = worker.busy_slots
    luck = at.luck.random()
    return busy[int(luck * len(busy))] if busy else None


def consumer_deaf(at: Infliction, fault: ConsumerDeaf) -> None:
    world = at.world

    def deafen(node: Node) -> None:
        worker = world.workers[node.name]
        consumer = worker.consumer
        if consumer is None:
            return
        activation = at.log(node.name)
        activation.landed = 1
        consumer.deaf = True
        activation.detail = "connected, and handed nothing"

        def hear() -> None:
            activation.end_s = world.kernel.now
            consumer.deaf = False
            world.broker.dispatch()

        at.later(fault.for_s, hear)

    at.strike(deafen)


def pop_then_die(at: Infliction, fault: PopThenDie) -> None:
    world = at.world

    def kill(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        activation.detail = "no wake-up lost"
        consumer = world.workers[node.name].consumer
        # Drawn whatever the worker is at, so that what one strike finds does not move the luck of the next.
        if at.luck.random() < fault.probability and consumer is not None and world.broker.lose_popped(consumer):
            activation.detail = "the wake-up that it was taking is lost"
        world.kill(node.name)
        restart_later(at, activation, fault.restart_after_s)

    at.strike(kill)
