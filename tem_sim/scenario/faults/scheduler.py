"""What goes wrong with the scheduler."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Duration


class BeatStopped(Window):
    """The scheduler is dead for a while: nothing is requeued, rescued or relayed."""

    kind: Literal["beat_stopped"] = "beat_stopped"
    target: str = Field("beat", description="Whom it strikes.")

    shade: ClassVar[str] = "darkkhaki"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} is stopped {self.when()}"


class BeatDoubled(Window):
    """A second scheduler, beat-2, runs beside the first."""

    kind: Literal["beat_doubled"] = "beat_doubled"
    target: str = Field("beat", description="Whom it strikes.")
    phase_s: Duration = Field(0.0, alias="phase", description="How far its ticks are from the grid of whole periods.")

    shade: ClassVar[str] = "goldenrod"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"a second scheduler runs {self.when()}, {self.phase_s:g} s out of phase"
