"""What goes wrong, when, for how long and to whom: one frozen value per fault, with no engine.

Each class knows its colour on every plot (`shade`), which nodes it can strike (`strikes`), and how to say itself.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, WithJsonSchema, model_validator

from tem_sim.pipeline.ports import EDGES
from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import (
    Drift,
    Duration,
    Fraction,
    Off,
    PositiveCount,
    PositiveDuration,
    PositiveRate,
    SignedDuration,
)

# Target names that stand for several nodes.
GROUPS = ("workers", "*")
CLOCKED = ("worker", "beat", "api", "gateway")

_AT = "When it begins."
_FOR = "How long it lasts."


class Window(Model):
    """A fault that begins at a time and lasts for a while."""

    at_s: Duration = Field(alias="at", description=_AT)
    for_s: PositiveDuration = Field(alias="for", description=_FOR)

    shade: ClassVar[str]
    strikes: ClassVar[tuple[str, ...]]

    @property
    def start_s(self) -> float:
        """When it can first strike."""
        return self.at_s

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run."""
        return self.at_s + self.for_s

    def when(self) -> str:
        """Say when it happens."""
        return f"from {self.at_s:g} s for {self.for_s:g} s"


class Outage(Window):
    """The downstream refuses every call."""

    kind: Literal["outage"] = "outage"
    target: str = Field("handler", description="Whom it strikes.")

    shade: ClassVar[str] = "indianred"
    strikes: ClassVar[tuple[str, ...]] = ("handler",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the downstream is away {self.when()}"


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


class ClockSkew(Window):
    """A node's clock is off by a constant, and by a drift that grows."""

    kind: Literal["clock_skew"] = "clock_skew"
    target: str = Field(description="Whom it strikes: a node, `workers`, or `*` for every node with a clock.")
    skew_s: SignedDuration = Field(0.0, alias="skew", description="How far ahead the clock is; negative for behind.")
    drift: Drift = Field(0.0, description="How fast it runs away besides: `50ppm`, or a number of seconds per second.")

    shade: ClassVar[str] = "rosybrown"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def describe(self) -> str:
        """Say the fault in one line."""
        drift = f", drifting {self.drift * 1e6:+g} ppm" if self.drift else ""
        return f"the clock of {self.target} is off by {self.skew_s:+g} s{drift} {self.when()}"


Edge = Annotated[str, WithJsonSchema({"enum": list(EDGES)})]


class Triggered(Model):
    """A fault that strikes at a time, at random with a rate, or when a node passes a named step of its code."""

    target: str = Field(description="Whom it strikes: a node, `workers`, or `*` for every node.")
    at_s: Duration | None = Field(None, alias="at", description="When it strikes every target; or give rate, or edge.")
    rate_per_s: PositiveRate | None = Field(
        None, alias="rate", description="How often it strikes one of the targets, picked at random."
    )
    from_s: Duration | None = Field(None, alias="from", description="With rate: when it may first strike.")
    until_s: PositiveDuration | None = Field(
        None, alias="until", description="With rate: when it no longer strikes; the horizon when left out."
    )
    edge: Edge | None = Field(None, description="The step of the lifecycle at which it strikes whoever passes.")
    nth: PositiveCount = Field(1, description="With edge: at which passing it strikes, counted over all targets.")

    shade: ClassVar[str]
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    @property
    def start_s(self) -> float:
        """When it can first strike."""
        return self.at_s or self.from_s or 0.0

    def when(self) -> str:
        """Say when it happens."""
        if self.edge is not None:
            return f"at {self.edge}, passing {self.nth}"
        if self.rate_per_s is not None:
            until = "" if self.until_s is None else f" until {self.until_s:g} s"
            return f"{self.rate_per_s:g} times per s from {self.start_s:g} s{until}"
        return f"at {self.start_s:g} s"

    @model_validator(mode="after")
    def _has_one_trigger(self) -> Triggered:
        broken = [*self._triggers(), *self._strays()]
        if broken:
            raise broken_rules("fault", broken)
        return self

    def _triggers(self) -> list[Broken]:
        given = {"at": self.at_s, "rate": self.rate_per_s, "edge": self.edge}
        chosen = [key for key, value in given.items() if value is not None]
        if not chosen:
            return [Broken((), "needs one trigger: at, rate or edge", None)]
        return [Broken((key,), f"{chosen[0]} is given too; a fault has one trigger", given[key]) for key in chosen[1:]]

    def _strays(self) -> list[Broken]:
        """Report keys that would have no effect, and a window that never opens."""
        strays = []
        if self.rate_per_s is None:
            bounds = {"from": self.from_s, "until": self.until_s}
            strays += [Broken((k,), "goes with rate only", v) for k, v in bounds.items() if v is not None]
        elif self.until_s is not None and self.until_s <= (self.from_s or 0.0):
            strays.append(Broken(("until",), f"must be after from ({self.from_s or 0:g} s)", self.until_s))
        if self.edge is None and self.nth != 1:
            strays.append(Broken(("nth",), "goes with edge only", self.nth))
        return strays


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
        last_s = self.until_s if self.rate_per_s is not None else self.at_s
        return None if last_s is None else last_s + (self.restart_after_s or 0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        back = "for good" if self.restart_after_s is None else f"back after {self.restart_after_s:g} s"
        return f"{self.target} killed {self.when()}, {back}"


class WorkerPause(Triggered):
    """A node freezes, as in a long garbage collection or a stopped VM, and goes on without noticing."""

    kind: Literal["worker_pause"] = "worker_pause"
    for_s: PositiveDuration = Field(alias="for", description=_FOR)

    shade: ClassVar[str] = "sandybrown"

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        last_s = self.until_s if self.rate_per_s is not None else self.at_s
        return None if last_s is None else last_s + self.for_s

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.target} frozen for {self.for_s:g} s {self.when()}"


AnyFault = (
    Outage
    | BrokerRestart
    | WorkerDeath
    | WorkerPause
    | BeatStopped
    | BeatDoubled
    | WakeupsLost
    | GatewayDisconnect
    | ClockSkew
)
Fault = Annotated[AnyFault, Field(discriminator="kind")]

# Each kind of fault with its class.
KINDS: dict[str, type[AnyFault]] = {model.model_fields["kind"].default: model for model in get_args(AnyFault)}
