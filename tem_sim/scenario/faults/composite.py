"""Faults that are made of others, at times and on nodes that go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field, model_validator

from tem_sim.scenario.base import Broken, broken_rules
from tem_sim.scenario.faults.base import CLOCKED, RESTART_AFTER, Window
from tem_sim.scenario.faults.broker import BrokerRestart
from tem_sim.scenario.faults.clock import ClockError, ClockSkew
from tem_sim.scenario.faults.code import WORKERS
from tem_sim.scenario.faults.database import DatabaseSlow
from tem_sim.scenario.faults.process import WorkerDeath, WorkerPause, WorkerStop, back
from tem_sim.scenario.quantities import Count, Duration, Factor, Fraction, Off, PositiveDuration, SignedDuration

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random

# What the parts of a composite may be.
Part: TypeAlias = BrokerRestart | ClockSkew | DatabaseSlow | WorkerDeath | WorkerPause | WorkerStop


class Composite(Protocol):
    """A fault that knows its parts, once it is known who its targets are."""

    def parts(self, names: Sequence[str], luck: Random) -> list[Part]:
        """Return its parts, each with its time."""
        ...


def _shuffled(names: Sequence[str], luck: Random) -> list[str]:
    """Return the names in random order, by as many draws as there are names."""
    return [name for _, name in sorted((luck.random(), name) for name in names)]


def _some(names: Sequence[str], share: float, luck: Random) -> list[str]:
    """Return a random part of the names in random order; at least one."""
    return _shuffled(names, luck)[: max(1, math.ceil(share * len(names)))]


class Swizzle(Window):
    """Some nodes are frozen one after the other, and go on one after the other in another order."""

    kind: Literal["swizzle"] = "swizzle"
    target: str = Field("workers", description="Among whom it chooses: a node, `workers`, or `*` for every node.")
    fraction: Fraction = Field(0.5, description="The share of them that it freezes, at least one.")

    shade: ClassVar[str] = "darkorange"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def parts(self, names: Sequence[str], luck: Random) -> list[Part]:
        """Return its parts: freezing takes the first third of the time, and waking the last."""
        frozen = _some(names, self.fraction, luck)
        woken = _shuffled(frozen, luck)
        if woken == frozen:
            woken.reverse()
        step_s = self.for_s / 3 / len(frozen)
        parts: list[Part] = []
        for place, name in enumerate(frozen):
            begins_s = self.at_s + place * step_s
            ends_s = self.at_s + self.for_s * 2 / 3 + (woken.index(name) + 1) * step_s
            parts.append(WorkerPause(target=name, at_s=begins_s, for_s=ends_s - begins_s))
        return parts

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.fraction:.0%} of {self.target} frozen one by one and woken in another order {self.when()}"


class RollingRestart(Window):
    """All workers are restarted one after the other, as a deploy does it."""

    kind: Literal["rolling_restart"] = "rolling_restart"
    target: str = Field("workers", description=WORKERS)
    grace_s: Duration = Field(
        10.0, alias="grace", description="How long each has to end its tasks before it is killed."
    )
    restart_after_s: Duration = Field(1.0, alias="restart_after", description="When each is started again.")

    shade: ClassVar[str] = "orange"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def over_s(self) -> float | None:
        """When the last of them is back at the latest."""
        return self.at_s + self.for_s + self.grace_s + self.restart_after_s

    def parts(self, names: Sequence[str], luck: Random) -> list[Part]:
        """Return its parts: a stop of each worker in the order of their names, evenly over the time."""
        step_s = self.for_s / len(names)
        return [
            WorkerStop(
                target=name,
                at_s=self.at_s + place * step_s,
                grace_s=self.grace_s,
                restart_after_s=self.restart_after_s,
            )
            for place, name in enumerate(names)
        ]

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} restarted one after the other {self.when()}"


class Bisect(Window):
    """Half of the workers live in another time than the other half: their clocks are off together."""

    kind: Literal["bisect"] = "bisect"
    target: str = Field("workers", description="Who is split: `workers`, or `*` for every node.")
    fraction: Fraction = Field(0.5, description="The share whose clocks are off, at least one.")
    skew_s: SignedDuration = Field(-30.0, alias="skew", description="How far ahead they are; negative for behind.")

    shade: ClassVar[str] = "coral"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def parts(self, names: Sequence[str], luck: Random) -> list[Part]:
        """Return its parts: the same skew of each clock in a random half."""
        off = sorted(_some(names, self.fraction, luck))
        return [ClockSkew(target=name, at_s=self.at_s, for_s=self.for_s, skew_s=self.skew_s) for name in off]

    def clock_error(self) -> ClockError:
        """Return how far it can take its targets' clocks from the true time."""
        until_s = self.at_s + self.for_s
        return ClockError(self.target, self.at_s, until_s, min(0.0, self.skew_s), max(0.0, self.skew_s))

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.fraction:.0%} of {self.target} have clocks off by {self.skew_s:+g} s {self.when()}"


class Flap(Window):
    """A node goes away and comes back, again and again."""

    kind: Literal["flap"] = "flap"
    target: str = Field(description="Whom it strikes: a node, `workers`, or `*` for every node.")
    every_s: PositiveDuration = Field(
        alias="every", description="From one time that it goes to the next; about the lease, and rescues meet zombies."
    )
    down: Fraction = Field(0.5, description="The share of that time for which it is away.")
    by: Literal["pause", "death"] = Field("pause", description="Whether it freezes, or is killed and started again.")

    shade: ClassVar[str] = "orangered"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    @model_validator(mode="after")
    def _is_away_at_all(self) -> Flap:
        if not self.down:
            raise broken_rules("fault", [Broken(("down",), "must be above 0", self.down)])
        return self

    def parts(self, names: Sequence[str], luck: Random) -> list[Part]:
        """Return its parts: a pause or a death of its targets at the beginning of each period."""
        away_s = self.down * self.every_s
        parts: list[Part] = []
        for number in range(math.ceil(self.for_s / self.every_s)):
            at_s = self.at_s + number * self.every_s
            lasts_s = min(away_s, self.at_s + self.for_s - at_s)
            if self.by == "pause":
                parts.append(WorkerPause(target=self.target, at_s=at_s, for_s=lasts_s))
            else:
                parts.append(WorkerDeath(target=self.target, at_s=at_s, restart_after_s=lasts_s))
        return parts

    def describe(self) -> str:
        """Say the fault in one line."""
        how = "frozen" if self.by == "pause" else "killed"
        return f"{self.target} {how} for {self.down:.0%} of every {self.every_s:g} s {self.when()}"


class Correlated(Window):
    """The broker restarts, and a worker that is at work dies with it, as when both are on one machine."""

    kind: Literal["correlated"] = "correlated"
    target: str = Field("workers", description="Of whom one dies: a worker, or `workers`.")
    within_s: Duration = Field(
        0.1, alias="within", description="The time after the broker's end within which the worker dies."
    )
    messages: Literal["kept", "lost"] | None = Field(
        None, description="What becomes of the queue; when left out, as broker.durable says."
    )
    restart_after_s: Off[Duration] = Field(5.0, alias="restart_after", description=RESTART_AFTER)

    shade: ClassVar[str] = "maroon"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def over_s(self) -> float | None:
        """When it is over."""
        return self.at_s + max(self.for_s, self.within_s + (self.restart_after_s or 0.0))

    def restart(self) -> BrokerRestart:
        """Return the part of it that strikes the broker."""
        return BrokerRestart(at_s=self.at_s, for_s=self.for_s, messages=self.messages)

    def death(self, name: str, at_s: float) -> WorkerDeath:
        """Return the part of it that strikes a worker."""
        return WorkerDeath(target=name, at_s=at_s, restart_after_s=self.restart_after_s)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the broker restarts {self.when()}, and one of {self.target} dies with it, {back(self.restart_after_s)}"


class MetastableKick(Window):
    """A blow that may tip a system over: the database is slow for a while, and a crowd arrives as it begins."""

    kind: Literal["metastable_kick"] = "metastable_kick"
    target: str = Field("database", description="Whom it strikes.")
    factor: Factor = Field(50.0, description="How many times as long everything takes that the database is asked.")
    events: Count = Field(200, description="How many events arrive at once, besides those of the scenario.")

    shade: ClassVar[str] = "crimson"
    strikes: ClassVar[tuple[str, ...]] = ("database",)

    def slow(self) -> DatabaseSlow:
        """Return the part of it that strikes the database."""
        return DatabaseSlow(at_s=self.at_s, for_s=self.for_s, factor=self.factor)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.events} more events at once, and the database {self.factor:g} times as slow {self.when()}"
