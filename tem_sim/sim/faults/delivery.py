"""How the way to the user fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tem_sim.sim.pubsub import Gap, Reordering, Repeats
from tem_sim.sim.users import SlowReader

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Notification
    from tem_sim.scenario.faults.delivery import (
        AcksLost,
        GatewayDisconnect,
        NotificationsDoubled,
        NotificationsReordered,
        ReadLag,
        RoutingStale,
        SlowConsumers,
        SocketsHalfOpen,
        SubscriberGap,
        UsersOffline,
    )
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.users import User


def gateway_disconnect(at: Infliction, fault: GatewayDisconnect) -> None:
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
            gateway.redial_within_s = fault.reconnect_within_s
            world.let_up("gateway")
            return 1
        gateway.dial_again(dropped, fault.reconnect_within_s)
        return len(dropped)

    at.window(begin, end)


def subscriber_gap(at: Infliction, fault: SubscriberGap) -> None:
    world, gap = at.world, Gap(fault.counted)

    def begin() -> str:
        world.pubsub.gaps.append(gap)
        return "Redis counts a receiver that hears nothing" if fault.counted else "nobody is subscribed"

    def end() -> int:
        world.pubsub.gaps.remove(gap)
        if world.pubsub.up and not world.pubsub.gaps:
            world.gateway.resubscribe()
        return gap.missed

    at.window(begin, end)


def notifications_doubled(at: Infliction, fault: NotificationsDoubled) -> None:
    repeats = at.world.pubsub.repeats
    mine = Repeats(fault.probability, at.luck, fault.after_s, fault.how == "unanswered")

    def begin() -> str:
        repeats.append(mine)
        return "heard, and answered with an error" if mine.unanswered else f"again {fault.after_s:g} s later"

    def end() -> int:
        repeats.remove(mine)
        return mine.hits

    at.window(begin, end)


def notifications_reordered(at: Infliction, fault: NotificationsReordered) -> None:
    reorderings, mine = at.world.pubsub.reorderings, Reordering(fault.within_s, at.luck)

    def begin() -> str:
        reorderings.append(mine)
        return f"publishes take up to {fault.within_s:g} s longer"

    def end() -> int:
        # It stays, so that what comes after overtakes nothing of its own publisher that is on its way yet.
        mine.within_s = 0.0
        return mine.overtaken

    at.window(begin, end)


def _struck(at: Infliction, fraction: float) -> list[User]:
    """Return the share of the users whom a fault strikes, the same ones whatever else happens."""
    return at.world.gateway.some_users(fraction, "fault-users", *at.key)


def sockets_half_open(at: Infliction, fault: SocketsHalfOpen) -> None:
    gateway = at.world.gateway
    struck: list[User] = []
    dead = 0

    def begin() -> str:
        nonlocal dead
        struck[:] = _struck(at, fault.fraction)
        dead = sum(user.connected for user in struck)
        gateway.take_offline(struck, noticed=False)
        return f"{dead} sockets are dead and look alive"

    def end() -> int:
        gateway.bring_online(struck)
        return dead

    at.window(begin, end)


def users_offline(at: Infliction, fault: UsersOffline) -> None:
    gateway = at.world.gateway
    struck: list[User] = []

    def begin() -> str:
        struck[:] = _struck(at, fault.fraction)
        dropped = sum(user.connected for user in struck)
        gateway.take_offline(struck, noticed=True)
        return f"{len(struck)} users offline, {dropped} of them were connected"

    def end() -> int:
        gateway.bring_online(struck, fault.reconnect_within_s)
        return len(struck)

    at.window(begin, end)


def slow_consumers(at: Infliction, fault: SlowConsumers) -> None:
    gateway = at.world.gateway
    slow: list[tuple[User, SlowReader]] = []

    def begin() -> str:
        for user in _struck(at, fault.fraction):
            # One who is slow already stays as slow as that.
            if user.reader is None:
                user.reader = SlowReader(fault.buffer, fault.policy == "close", fault.read_every_s)
                slow.append((user, user.reader))
        return f"{len(slow)} users are slow"

    def end() -> int:
        for user, _ in slow:
            gateway.sockets.speed_up(user)
        return sum(reader.held + reader.overflows for _, reader in slow)

    at.window(begin, end)


def acks_lost(at: Infliction, fault: AcksLost) -> None:
    gateway, loss = at.world.gateway, (fault.probability, at.luck)
    lost = 0

    def begin() -> str:
        nonlocal lost
        lost = gateway.sockets.acks_lost
        gateway.sockets.ack_losses.append(loss)
        return f"each acknowledgement lost with probability {fault.probability:g}"

    def end() -> int:
        gateway.sockets.ack_losses.remove(loss)
        return gateway.sockets.acks_lost - lost

    at.window(begin, end)


def routing_stale(at: Infliction, fault: RoutingStale) -> None:
    world, gateway = at.world, at.world.gateway
    struck: list[User] = []
    misdelivered = 0

    def begin() -> str:
        nonlocal misdelivered
        struck[:] = _struck(at, fault.fraction)
        misdelivered = gateway.misdelivered
        for user in struck:
            user.misrouted += 1
        world.kill("gateway")
        world.start_node("gateway")
        return f"the gateway restarted; {len(struck)} users' routes are stale"

    def end() -> int:
        for user in struck:
            user.misrouted -= 1
        # An instance that learns that users are its own sends them what they have missed.
        gateway.replay_for(user.user_id for user in struck if user.connected)
        return gateway.misdelivered - misdelivered

    at.window(begin, end)


def read_lag(at: Infliction, fault: ReadLag) -> None:
    gateway, kernel = at.world.gateway, at.world.kernel
    stale = 0

    def read(note: Notification) -> None:
        nonlocal stale
        stale += note.created_at > kernel.now - fault.lag_s

    def begin() -> str:
        gateway.sockets.on_shown.append(read)
        return f"who is told reads the event as it was {fault.lag_s:g} s before; counted are those not PROCESSED yet"

    def end() -> int:
        gateway.sockets.on_shown.remove(read)
        return stale

    at.window(begin, end)
