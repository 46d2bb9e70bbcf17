"""What goes wrong with the task queue on Redis."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Fraction


class BrokerRestart(Window):
    """Redis goes away and comes back, with or without its messages; pub/sub is gone meanwhile."""

    kind: Literal["broker_restart"] = "broker_restart"
    target: str = Field("redis", description="Whom it strikes.")
    messages: Literal["kept", "lost"] | None = Field(
        None, description="What becomes of the queue; when left out, as broker.durable says."
    )

    shade: ClassVar[str] = "steelblue"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        fate = f", messages {self.messages}" if self.messages else ""
        return f"the broker restarts {self.when()}{fate}"


class WakeupsLost(Window):
    """Wake-ups get lost on their way to the queue, and nobody is told."""

    kind: Literal["wakeups_lost"] = "wakeups_lost"
    target: str = Field("redis", description="Whom it strikes.")
    probability: Fraction = Field(1.0, description="The probability that a wake-up is lost.")

    shade: ClassVar[str] = "mediumpurple"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"wake-ups are lost with probability {self.probability:g} {self.when()}"
