"""What goes wrong between pub/sub and the user."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Fraction


class GatewayDisconnect(Window):
    """The users' sockets drop; with a fraction of 1 the gateway itself is gone, subscription and all."""

    kind: Literal["gateway_disconnect"] = "gateway_disconnect"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(1.0, description="The share of users who are cut off.")

    shade: ClassVar[str] = "darkseagreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        whom = "the gateway is away" if self.fraction == 1 else f"{self.fraction:.0%} of the sockets drop"
        return f"{whom} {self.when()}"
