"""How Redis fails as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.broker import Room

if TYPE_CHECKING:
    from tem_sim.scenario.faults.broker import BrokerFrozen, BrokerRestart, QueueFull
    from tem_sim.sim.faults.infliction import Infliction

# A client that times out has tried twice: measured 4.27 s with socket_timeout=2.
TRIES_BEFORE_TIMEOUT = 2


def broker_restart(at: Infliction, fault: BrokerRestart) -> None:
    world = at.world
    broker = world.broker
    keep = world.scenario.broker.durable if fault.messages is None else fault.messages == "kept"
    broker.journal.remembers_s = max(broker.journal.remembers_s, fault.undone_s)

    def begin() -> str:
        lost = broker.stop(
            keep_messages=keep,
            keep_unacked=world.scenario.broker.behaviour.unacked_after_restart == "kept",
            undo_s=fault.undone_s,
            luck=at.luck,
        )
        world.pubsub.up = False
        world.pubsub.subscriber = None
        if not keep:
            return f"{lost} messages lost"
        return f"messages kept, the last {fault.undone_s:g} s undone" if fault.undone_s else "messages kept"

    def end() -> int:
        broker.start()
        world.pubsub.up = broker.up
        if world.pubsub.up and fault.resubscribe_after_s:
            world.kernel.call_later(fault.resubscribe_after_s, resubscribe)
        else:
            resubscribe()
        return 1

    def resubscribe() -> None:
        if world.pubsub.up:
            world.gateway.resubscribe()

    def heal() -> None:
        resubscribe()
        for worker in world.workers.values():
            worker.hear_again()

    at.window(begin, end)
    # What the loss of the connection made of workers and gateway is over when all faults are.
    at.later(None, heal)


def broker_frozen(at: Infliction, fault: BrokerFrozen) -> None:
    broker, client = at.world.broker, at.world.sender
    hung = 0

    def begin() -> str:
        nonlocal hung
        hung = client.hung
        broker.freeze()
        if fault.socket_timeout_s is None:
            return "nothing is answered"
        client.socket_timeout_s = TRIES_BEFORE_TIMEOUT * fault.socket_timeout_s
        return f"nothing is answered; clients give up after {client.socket_timeout_s:g} s"

    def end() -> int:
        client.socket_timeout_s = None
        broker.thaw()
        return client.hung - hung

    at.window(begin, end)


def queue_full(at: Infliction, fault: QueueFull) -> None:
    room = Room(fault.room, drops_oldest=fault.policy == "drop_oldest")

    def begin() -> str:
        at.world.broker.rooms.append(room)
        return f"{fault.room} wake-ups may wait; {fault.policy.replace('_', 's the ', 1)}"

    def end() -> int:
        at.world.broker.rooms.remove(room)
        return room.hits

    at.window(begin, end)
