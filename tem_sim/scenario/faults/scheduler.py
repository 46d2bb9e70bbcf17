"""What goes wrong with the scheduler."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.distributions import Distribution
from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Duration, PositiveCount, Switch


class BeatStopped(Window):
    """The scheduler is dead for a while: nothing is requeued, rescued or relayed."""

    kind: Literal["beat_stopped"] = "beat_stopped"
    target: str = Field("beat", description="Whom it strikes.")
    missed: Literal["skipped", "fired"] = Field(
        "skipped",
        description="What becomes of the ticks that it missed: skipped, or all fired at once when it is back.",
    )

    shade: ClassVar[str] = "darkkhaki"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    def describe(self) -> str:
        """Say the fault in one line."""
        fired = ", its missed ticks fired at once" if self.missed == "fired" else ""
        return f"{self.target} is stopped {self.when()}{fired}"


class BeatDoubled(Window):
    """More schedulers, beat-2 and so on, run beside the first."""

    kind: Literal["beat_doubled"] = "beat_doubled"
    target: str = Field("beat", description="Whom it strikes.")
    phase_s: Duration = Field(
        0.0,
        alias="phase",
        description="How far the ticks of each are behind those of the one before; the first has whole periods.",
    )
    more: PositiveCount = Field(1, description="How many more schedulers run.")

    shade: ClassVar[str] = "goldenrod"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the schedulers that it starts."""
        return tuple(f"beat-{number}" for number in range(2, 2 + self.more))

    def describe(self) -> str:
        """Say the fault in one line."""
        if self.more == 1:
            return f"a second scheduler runs {self.when()}, {self.phase_s:g} s out of phase"
        return f"{self.more} more schedulers run {self.when()}, each {self.phase_s:g} s behind the one before"


class BeatLate(Window):
    """The scheduler's ticks are late: each does its work some time after it was due."""

    kind: Literal["beat_late"] = "beat_late"
    target: str = Field("beat", description="Whom it strikes.")
    by: Distribution = Field(description="How late each is; longer than the period, and ticks overrun.")
    overlap: Switch = Field(
        False,
        description="Let ticks overlap, and overtake each other; else one that falls due during another is skipped.",
    )

    shade: ClassVar[str] = "palegoldenrod"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    def describe(self) -> str:
        """Say the fault in one line."""
        how = "overlapping" if self.overlap else "those missed meanwhile skipped"
        return f"the ticks of {self.target} are about {self.by.mean_s:g} s late {self.when()}, {how}"


class BeatMisrouted(Window):
    """The scheduler's tasks go to the queue that they should relieve, and wait until a worker has time for them."""

    kind: Literal["beat_misrouted"] = "beat_misrouted"
    target: str = Field("beat", description="Whom it strikes.")

    shade: ClassVar[str] = "gold"
    strikes: ClassVar[tuple[str, ...]] = ("beat",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the tasks of {self.target} go to the processing queue {self.when()}"
