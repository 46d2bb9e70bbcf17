"""How the task queue fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.faults.broker import BrokerRestart, WakeupsLost
    from tem_sim.sim.faults.infliction import Infliction


def broker_restart(at: Infliction, fault: BrokerRestart) -> None:
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


def wakeups_lost(at: Infliction, fault: WakeupsLost) -> None:
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
