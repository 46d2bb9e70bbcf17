"""What goes wrong between the queue and the worker that takes from it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Restarted, Triggered
from tem_sim.scenario.quantities import Fraction, Off, PositiveDuration, Switch

WORKERS = "Whom it strikes: a worker, or `workers`."


class ChildDeath(Triggered):
    """A process of a worker's pool is killed in the middle of a task; the worker lives on and replaces it."""

    kind: Literal["child_death"] = "child_death"
    target: str = Field("workers", description=WORKERS)
    poison: Switch = Field(
        False, description="Whether the wake-up that it had in hand kills each process that takes it again."
    )

    shade: ClassVar[str] = "darkgrey"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def for_s(self) -> float | None:
        """How long it lasts: it is a moment."""
        return 0.0

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        again = ", and whoever takes its wake-up again" if self.poison else ""
        return f"a pool child of {self.target} killed {self.when()}{again}"


class ConsumerDeaf(Triggered):
    """A worker stays connected and is handed nothing more, until it is started anew."""

    kind: Literal["consumer_deaf"] = "consumer_deaf"
    target: str = Field("workers", description=WORKERS)
    for_s: Off[PositiveDuration] = Field(
        None, alias="for", description="How long it lasts; `off` for until the worker is started again."
    )

    shade: ClassVar[str] = "tan"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.for_s or 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        until = "until it is started again" if self.for_s is None else f"for {self.for_s:g} s"
        return f"{self.target} gets no wake-ups {until}, {self.when()}"


class PopThenDie(Restarted):
    """A worker is killed between taking a wake-up off the queue and noting it as unacknowledged: it is gone."""

    kind: Literal["pop_then_die"] = "pop_then_die"
    target: str = Field("workers", description=WORKERS)
    probability: Fraction = Field(0.5, description="The probability that the death falls between the two.")

    shade: ClassVar[str] = "lightslategrey"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} killed while taking a wake-up, with probability {self.probability:g}, {self.when()}"
