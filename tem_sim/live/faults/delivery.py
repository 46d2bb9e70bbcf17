"""How the way to the user fails: the gateway is killed, and the users' clients lose the network or read too slowly."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.scenario.faults.delivery import (
        AcksLost,
        GatewayDisconnect,
        SlowConsumers,
        SocketsHalfOpen,
        UsersOffline,
    )

GATEWAY = "gateway"
# Within which time clients dial again that nothing else is said of; as in the simulator.
RECONNECT_WITHIN_S = 1.0


def gateway_disconnect(at: Infliction, fault: GatewayDisconnect) -> None:
    if fault.fraction >= 1.0:
        _gateway_away(at, fault)
    else:
        _sockets_dropped(at, fault)


def _gateway_away(at: Infliction, fault: GatewayDisconnect) -> None:
    stage, down = at.stage, ExitStack()

    def begin() -> str:
        stage.clients.redial_within(fault.reconnect_within_s)
        connected = sum(stage.clients.is_connected(user) for user in range(1, stage.scenario.users.count + 1))
        down.enter_context(stage.system.held_down(GATEWAY))
        return f"the gateway is gone, {connected} sockets with it"

    def end() -> int:
        down.close()
        return 1

    at.window(begin, end)


def _sockets_dropped(at: Infliction, fault: GatewayDisconnect) -> None:
    clients = at.stage.clients
    dropped: list[int] = []

    def begin() -> str:
        struck = at.stage.users(fault.fraction, "fault-drop")
        dropped[:] = [user for user in struck if clients.is_connected(user)]
        return f"{clients.drop(dropped)} sockets dropped"

    def end() -> int:
        clients.dial_again(dropped, fault.reconnect_within_s)
        return len(dropped)

    at.window(begin, end)


def _struck(at: Infliction, fraction: float) -> list[int]:
    """Return the share of the users whom a fault strikes, the same ones whatever else happens."""
    return at.stage.users(fraction, "fault-users", *at.key)


def sockets_half_open(at: Infliction, fault: SocketsHalfOpen) -> None:
    clients, struck = at.stage.clients, _struck(at, fault.fraction)
    dead = 0

    def begin() -> str:
        nonlocal dead
        dead = clients.take_offline(struck, noticed=False)
        return f"{dead} sockets are dead and look alive"

    def end() -> int:
        clients.bring_online(struck, RECONNECT_WITHIN_S)
        return dead

    at.window(begin, end)


def users_offline(at: Infliction, fault: UsersOffline) -> None:
    clients, struck = at.stage.clients, _struck(at, fault.fraction)

    def begin() -> str:
        dropped = clients.take_offline(struck, noticed=True)
        return f"{len(struck)} users offline, {dropped} of them were connected"

    def end() -> int:
        clients.bring_online(struck, fault.reconnect_within_s)
        return len(struck)

    at.window(begin, end)


def slow_consumers(at: Infliction, fault: SlowConsumers) -> None:
    clients, struck = at.stage.clients, _struck(at, fault.fraction)

    def begin() -> str:
        clients.slow_down(struck, fault.read_every_s)
        return f"{len(struck)} users are slow"

    at.window(begin, lambda: clients.speed_up(struck))


def acks_lost(at: Infliction, fault: AcksLost) -> None:
    clients = at.stage.clients

    def begin() -> str:
        clients.lose_acks(at.key, fault.probability, at.luck)
        return f"each acknowledgement lost with probability {fault.probability:g}"

    at.window(begin, lambda: clients.lose_acks(at.key, None, None))
