"""How the way to the user fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tem_sim.scenario.faults.delivery import GatewayDisconnect
    from tem_sim.sim.faults.infliction import Infliction


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
            world.let_up("gateway")
            return 1
        gateway.dial_again(dropped)
        return len(dropped)

    at.window(begin, end)
