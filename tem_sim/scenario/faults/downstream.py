"""What goes wrong with the downstream that the handler calls."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window


class Outage(Window):
    """The downstream refuses every call."""

    kind: Literal["outage"] = "outage"
    target: str = Field("handler", description="Whom it strikes.")

    shade: ClassVar[str] = "indianred"
    strikes: ClassVar[tuple[str, ...]] = ("handler",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the downstream is away {self.when()}"
