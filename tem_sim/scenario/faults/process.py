"""What goes wrong with a node: its death, and its freezing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import FOR, Triggered
from tem_sim.scenario.quantities import Duration, Off, PositiveDuration


class WorkerDeath(Triggered):
    """A node is killed as SIGKILL does: no cleanup of any kind; its supervisor may start it again."""

    kind: Literal["worker_death"] = "worker_death"
    restart_after_s: Off[Duration] = Field(
        5.0, alias="restart_after", description="When it is started again; `off` for never."
    )

    shade: ClassVar[str] = "slategrey"

    @property
    def for_s(self) -> float | None:
        """How long the node is away; None for ever."""
        return self.restart_after_s

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.restart_after_s or 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        back = "for good" if self.restart_after_s is None else f"back after {self.restart_after_s:g} s"
        return f"{self.target} killed {self.when()}, {back}"


class WorkerPause(Triggered):
    """A node freezes, as in a long garbage collection or a stopped VM, and goes on without noticing."""

    kind: Literal["worker_pause"] = "worker_pause"
    for_s: PositiveDuration = Field(alias="for", description=FOR)

    shade: ClassVar[str] = "sandybrown"

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.for_s)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} frozen for {self.for_s:g} s {self.when()}"
