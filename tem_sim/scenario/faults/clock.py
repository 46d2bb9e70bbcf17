"""What goes wrong with a clock."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field

from tem_sim.scenario.faults.base import CLOCKED, Triggered, Window
from tem_sim.scenario.quantities import Drift, Off, PositiveDuration, SignedDuration, refused

CLOCK_TARGET = "Whom it strikes: a node, `workers`, or `*` for every node with a clock."


class ClockError(NamedTuple):
    """How far the clocks of a target may be off while a fault is on, in seconds; `until_s` None for the run's end."""

    target: str
    from_s: float
    until_s: float | None
    least_s: float
    most_s: float


def _not_zero(step_s: float) -> float:
    if not step_s:
        raise refused("must not be 0", "write a step such as -30s")
    return step_s


class ClockSkew(Window):
    """A node's clock is off by a constant, and by a drift that grows."""

    kind: Literal["clock_skew"] = "clock_skew"
    target: str = Field(description=CLOCK_TARGET)
    skew_s: SignedDuration = Field(0.0, alias="skew", description="How far ahead the clock is; negative for behind.")
    drift: Drift = Field(0.0, description="How fast it runs away besides: `50ppm`, or a number of seconds per second.")

    shade: ClassVar[str] = "rosybrown"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def clock_error(self) -> ClockError:
        """Return how far it can take its targets' clocks from the true time."""
        ends = self.skew_s, self.skew_s + self.drift * self.for_s
        return ClockError(self.target, self.at_s, self.at_s + self.for_s, min(0.0, *ends), max(0.0, *ends))

    def describe(self) -> str:
        """Say the fault in one line."""
        drift = f", drifting {self.drift * 1e6:+g} ppm" if self.drift else ""
        return f"the clock of {self.target} is off by {self.skew_s:+g} s{drift} {self.when()}"


class ClockStep(Triggered):
    """A node's clock is set forward or back in one step, at a moment that may lie between two steps of its code."""

    kind: Literal["clock_step"] = "clock_step"
    step_s: Annotated[SignedDuration, AfterValidator(_not_zero)] = Field(
        alias="step", description="How far it is set forward; negative for back."
    )
    corrected_after_s: Off[PositiveDuration] = Field(
        60.0, alias="corrected_after", description="When it is set right again, in one step too; `off` for never."
    )

    shade: ClassVar[str] = "lightpink"

    @property
    def for_s(self) -> float | None:
        """How long the clock is off; None for ever."""
        return self.corrected_after_s

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.corrected_after_s or 0.0)

    def clock_error(self) -> ClockError:
        """Return how far it can take its targets' clocks from the true time."""
        until_s = None if self.corrected_after_s is None else self.over_s
        return ClockError(self.target, self.start_s, until_s, min(0.0, self.step_s), max(0.0, self.step_s))

    def describe(self) -> str:
        """Say the fault in one line."""
        right = "for good" if self.corrected_after_s is None else f"set right after {self.corrected_after_s:g} s"
        return f"the clock of {self.target} steps by {self.step_s:+g} s {self.when()}, {right}"


class ClockFrozen(Window):
    """A node's clock stands still, and jumps to the true time in the end."""

    kind: Literal["clock_frozen"] = "clock_frozen"
    target: str = Field(description=CLOCK_TARGET)

    shade: ClassVar[str] = "pink"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def clock_error(self) -> ClockError:
        """Return how far it can take its targets' clocks from the true time."""
        return ClockError(self.target, self.at_s, self.at_s + self.for_s, -self.for_s, 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the clock of {self.target} stands still {self.when()}"


class ClockResolution(Window):
    """A node's clock is coarse: it shows whole multiples of its resolution only, rounded down."""

    kind: Literal["clock_resolution"] = "clock_resolution"
    target: str = Field(description=CLOCK_TARGET)
    resolution_s: PositiveDuration = Field(0.001, alias="resolution", description="The step from a tick to the next.")

    shade: ClassVar[str] = "mistyrose"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def clock_error(self) -> ClockError:
        """Return how far it can take its targets' clocks from the true time."""
        return ClockError(self.target, self.at_s, self.at_s + self.for_s, -self.resolution_s, 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the clock of {self.target} shows multiples of {self.resolution_s:g} s only {self.when()}"


class LeapSecond(Window):
    """A leap second: the targets smear it over the window, all other nodes step back in the middle of it."""

    kind: Literal["leap_second"] = "leap_second"
    target: str = Field("workers", description="Who smears it: a node, `workers`, or `*` for all.")
    leap_s: Annotated[SignedDuration, AfterValidator(_not_zero)] = Field(
        1.0, alias="leap", description="The time that is put in; all clocks are behind by so much afterwards."
    )

    shade: ClassVar[str] = "hotpink"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def clock_error(self) -> ClockError:
        """Return how far it can take clocks from the time that the run counts: all of them, and for good."""
        return ClockError("*", self.at_s, None, min(0.0, -self.leap_s), max(0.0, -self.leap_s))

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} smears a leap of {self.leap_s:+g} s {self.when()}, the others step in its middle"
