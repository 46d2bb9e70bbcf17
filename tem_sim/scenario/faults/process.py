"""What goes wrong with a node: it dies, is stopped, runs out of memory, freezes, or is slow."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import CLOCKED, FOR, Restarted, Triggered, Window
from tem_sim.scenario.quantities import Duration, Factor, Fraction, Off, PositiveDuration


def back(restart_after_s: float | None) -> str:
    """Say when a node that is down is back."""
    return "for good" if restart_after_s is None else f"back after {restart_after_s:g} s"


class WorkerDeath(Restarted):
    """A node is killed as SIGKILL does: no cleanup of any kind; its supervisor may start it again."""

    kind: Literal["worker_death"] = "worker_death"
    connection_closes_after_s: Duration = Field(
        0.0,
        alias="connection_closes_after",
        description="With interleave: statement, how long the database takes to notice that its connections are dead, "
        "and keeps their transactions and locks; long where the host is lost without a word.",
    )

    shade: ClassVar[str] = "slategrey"

    def describe(self) -> str:
        """Say the fault in one line."""
        open_ = self.connection_closes_after_s
        half = f", its connections open for another {open_:g} s" if open_ else ""
        return f"{self.target} killed {self.when()}, {back(self.restart_after_s)}{half}"


class WorkerStop(Triggered):
    """A worker is asked to end (SIGTERM): it begins nothing new, ends what it has in hand, and is killed if late."""

    kind: Literal["worker_stop"] = "worker_stop"
    target: str = Field("workers", description="Whom it strikes: a worker, or `workers`.")
    grace_s: Duration = Field(10.0, alias="grace", description="How long it has before it is killed.")
    restart_after_s: Off[Duration] = Field(
        5.0, alias="restart_after", description="When it is started again, from its end on; `off` for never."
    )

    shade: ClassVar[str] = "burlywood"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def for_s(self) -> float | None:
        """How long the node is away at most; None for ever."""
        return None if self.restart_after_s is None else self.grace_s + self.restart_after_s

    @property
    def over_s(self) -> float | None:
        """When it is over at the latest; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.grace_s + (self.restart_after_s or 0.0))

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} stopped within {self.grace_s:g} s {self.when()}, {back(self.restart_after_s)}"


class OutOfMemory(Window):
    """Some events need more memory than there is: each worker that calls the handler with one is killed."""

    kind: Literal["out_of_memory"] = "out_of_memory"
    target: str = Field("workers", description="Whom it strikes: a worker, or `workers`.")
    event_kind: str | None = Field(None, description="Events of this kind only, by its name in events.kinds.")
    probability: Fraction = Field(
        1.0, description="The share of these events that are too large; such an event kills every worker that it meets."
    )
    kills: Literal["node", "child"] = Field(
        "node", description="Who dies: the whole worker, or only the process of its pool that has the event."
    )
    restart_after_s: Off[Duration] = Field(
        5.0, alias="restart_after", description="With kills: node, when it is started again; `off` for never."
    )

    shade: ClassVar[str] = "brown"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @property
    def over_s(self) -> float | None:
        """When it is over."""
        return self.at_s + self.for_s + (self.restart_after_s or 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        share = "" if self.probability == 1 else f"{self.probability:.0%} of "
        which = f"events of kind {self.event_kind}" if self.event_kind else "events"
        return f"{share}{which} kill a {'worker' if self.kills == 'node' else 'pool process'} {self.when()}"


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


class WorkerSlow(Window):
    """A node is slow: its handler calls and its statements take longer by a factor."""

    kind: Literal["worker_slow"] = "worker_slow"
    target: str = Field(description="Whom it strikes: a node, `workers`, or `*` for every node.")
    factor: Factor = Field(10.0, description="How many times as long they take.")

    shade: ClassVar[str] = "peru"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} is {self.factor:g} times as slow {self.when()}"
