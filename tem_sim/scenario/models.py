"""A scenario: what happens, as plain frozen data that knows no engine."""

from __future__ import annotations

from html import escape
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tem_sim.pipeline.backoff import Policy
from tem_sim.pipeline.settings import ClaimOrder, Isolation, Settings, WriteGuard
from tem_sim.scenario import rules
from tem_sim.scenario.arrivals import Arrival
from tem_sim.scenario.base import Model, broken_rules
from tem_sim.scenario.broker import Broker
from tem_sim.scenario.faults.kinds import Fault
from tem_sim.scenario.handler import HandlerModel
from tem_sim.scenario.matrix import Matrix
from tem_sim.scenario.mitigations import Breaker, RetryBudget, Shedding
from tem_sim.scenario.policy import BackoffModel, ExponentialBackoff
from tem_sim.scenario.quantities import (
    Count,
    Duration,
    Fraction,
    Off,
    OrOne,
    PositiveCount,
    PositiveDuration,
    Some,
    Switch,
    Weight,
    refused,
    whole,
)
from tem_sim.scenario.seeds import Seeds
from tem_sim.scenario.store import Store
from tem_sim.scenario.thresholds import Thresholds
from tem_sim.scenario.users import Users
from tem_sim.scenario.yaml_writer import yaml_text

MAX_WORKERS = 10_000


def _up_to(most: int) -> WithJsonSchema:
    """Return the schema of a count from 1 to `most`."""
    return WithJsonSchema({"type": "integer", "minimum": 1, "maximum": most})


def _some_kinds(kinds: dict[str, float]) -> dict[str, float]:
    if not kinds:
        raise refused("must name at least one kind", "write for example {normal: 1}")
    return kinds


class Events(Model):
    """What arrives."""

    kinds: Annotated[dict[str, Weight], AfterValidator(_some_kinds)] = Field(
        default_factory=lambda: {"normal": 1.0}, description="The kinds of event and the weight of each."
    )
    payload_bytes: Count = Field(100, description="The size of an event's payload.")
    duplicate_submits: Fraction = Field(
        0.0, description="The share of events that their client sends twice, under the same key."
    )
    limit: PositiveCount = Field(
        2_000_000, description="The most events that a scenario may expect; a guard of memory."
    )


class Api(Model):
    """The Event API and its clients."""

    batch: PositiveCount = Field(500, description="Events of the same instant that go in one request.")
    latency_s: Duration = Field(0.005, alias="latency", description="The time of a request before the store.")
    retries: Count = Field(3, description="How often a client repeats a request that was not answered, or refused.")


class Pipeline(Model):
    """The pipeline's settings: each hole of its first version is a switch, closed by default."""

    backoff: BackoffModel = Field(
        default_factory=ExponentialBackoff, description="When a failed event is tried again, and when it is given up."
    )
    batch_size: PositiveCount = Field(50, description="Events that one task claims at most.")
    settle_every: PositiveCount = Field(50, description="Outcomes gathered before one settling transaction.")
    lease_s: Off[PositiveDuration] = Field(
        60.0, alias="lease", description="How long a claim holds before the event is rescued; `off` for no rescue."
    )
    sweep_after_s: Off[PositiveDuration] = Field(
        60.0, alias="sweep_after", description="The age at which a QUEUED event is announced again; `off` for never."
    )
    requeue_limit: Off[PositiveCount] = Field(
        500, description="Due events that one tick of the scheduler requeues at most; `off` for all."
    )
    relay_limit: PositiveCount = Field(500, description="Notifications that one tick of the relay publishes at most.")
    crash_budget: Off[Count] = Field(
        3, description="Leases that an event may lose before it is EXTINCT; `off` for any number."
    )
    write_guard: WriteGuard = Field(
        WriteGuard.FENCED,
        description="What a worker checks before it writes: stale (the historic bug), refresh (the historic fix), "
        "row_lock, version or fenced.",
    )
    outbox: Switch = Field(True, description="Keep notifications in the store until they are acknowledged.")
    isolation: Isolation = Field(
        Isolation.EVENT, description="Whether a failure is the event's own, or fails its whole batch."
    )
    claim_order: ClaimOrder = Field(
        ClaimOrder.OLDEST_FIRST,
        description="Which QUEUED events are claimed first: those queued longest, those that have not failed yet "
        "(new_first), or those queued last.",
    )
    deadline_s: Off[PositiveDuration] = Field(
        None,
        alias="deadline",
        description="The age, from the submit or the last replay, at which an event is not handed to its handler any "
        "more and ends EXTINCT; `off` for none.",
    )
    concurrency_limit: Off[PositiveCount] = Field(
        None,
        description="Calls of the handler that the whole fleet makes at the same time at most; `off` for as many as "
        "there are slots.",
    )
    retry_budget: Off[RetryBudget] = Field(
        None, description="Requeue no more than this budget allows; `off` for all that is due."
    )
    shedding: Off[Shedding] = Field(
        None, description="Refuse new submissions while too many events wait; `off` to take all in."
    )
    breaker: Off[Breaker] = Field(
        None, description="Leave the downstream alone for a while when most calls fail; `off` to go on calling."
    )

    def settings(self) -> Settings:
        """Return what the pipeline's own code takes."""
        return Settings(
            policy=self.backoff.policy(),
            batch_size=self.batch_size,
            settle_every=self.settle_every,
            lease_s=self.lease_s,
            sweep_after_s=self.sweep_after_s,
            requeue_limit=self.requeue_limit,
            relay_limit=self.relay_limit,
            crash_budget=self.crash_budget,
            write_guard=self.write_guard,
            outbox=self.outbox,
            isolation=self.isolation,
            claim_order=self.claim_order,
            deadline_s=self.deadline_s,
            concurrency_limit=self.concurrency_limit,
            retry_budget=None if self.retry_budget is None else self.retry_budget.settings(),
            shedding=None if self.shedding is None else self.shedding.settings(),
            breaker=None if self.breaker is None else self.breaker.settings(),
        )


class Workers(Model):
    """The pool of workers."""

    count: Annotated[int, BeforeValidator(whole(1, MAX_WORKERS)), _up_to(MAX_WORKERS)] = Field(
        4, description="Worker nodes, named worker-1 and so on."
    )
    concurrency: PositiveCount = Field(4, description="Tasks that a worker runs at the same time.")
    prefetch: PositiveCount = Field(1, description="Wake-ups that a worker reserves per task it can run.")
    startup_s: Duration = Field(1.0, alias="startup", description="The time from a worker's start to its first task.")
    restart_after_s: Off[Duration] = Field(
        5.0, alias="restart_after", description="When a worker that an event killed is started again; `off` for never."
    )
    up_at_start: Switch = Field(
        False,
        description="Whether workers are up when the run begins, as live ones are, or start up then, too.",
    )


class Beat(Model):
    """The scheduler."""

    retry_every_s: PositiveDuration = Field(1.0, alias="retry_every", description="The period of retry_failed_events.")
    rescue_every_s: PositiveDuration = Field(5.0, alias="rescue_every", description="The period of rescue_lost_events.")
    relay_every_s: PositiveDuration = Field(0.2, alias="relay_every", description="The period of relay_notifications.")
    phase_s: Duration = Field(0.0, alias="phase", description="How far its ticks are from the grid of whole periods.")
    through: Literal["itself", "broker"] = Field(
        "itself",
        description="Who does the work of a tick: the scheduler, or a worker of a queue for it, as under Celery; ticks "
        "then wait there, 5 s at most, while that worker has no connection to the broker.",
    )
    retry_floor_s: Off[PositiveDuration] = Field(
        None,
        alias="retry_floor",
        description="Adaptive polling: each tick of retry_failed_events that fills requeue_limit halves the wait to "
        "the next, down to this; each other tick doubles it, up to the period. `off` for the fixed period.",
    )


class Expect(Model):
    """What this scenario is meant to show."""

    violations: tuple[str, ...] = Field(
        (), description="Checks that it is meant to break; that one of them holds is then a failure."
    )


def _listed(value: object) -> object:
    """One process of arrivals need not be written as a list."""
    return value if isinstance(value, (list, tuple)) else [value]


class Scenario(Model):
    """What happens in one run: the load, the settings of every part, and the faults."""

    name: str = Field(alias="scenario", min_length=1, description="The scenario's name.")
    about: str = Field("", description="What it shows, in one line.")
    seed: Count = Field(1, description="The root of all chance; the same seed is the same run.")
    seeds: Seeds | None = Field(
        None, description="The seeds of a sweep: how many, 1 to that; a list; or as many as it takes. 10 when left out."
    )
    matrix: Matrix | None = Field(
        None,
        description="The cells of a sweep: lists of values by path, such as `pipeline.backoff.base: [1s, 2s]`; "
        "`exclude` drops combinations and `include` adds some.",
    )
    horizon_s: PositiveDuration = Field(600.0, alias="horizon", description="When the run ends at the latest.")
    stop: Literal["drained", "horizon"] = Field(
        "drained",
        description="End when every event is terminal, its user told and the faults over, or only at the horizon.",
    )
    heal_at_s: Off[PositiveDuration] = Field(
        None,
        alias="heal_at",
        description="When all faults end, whatever is left of them, and every node that is down is started again; from "
        "then on the checks of liveness hold the run to their bounds. `off` for no such time.",
    )
    arrivals: Annotated[Some[Arrival], BeforeValidator(_listed), OrOne()] = Field(
        description="When events arrive: one process, or a list of them."
    )
    events: Events = Field(default_factory=Events, description="What arrives.")
    api: Api = Field(default_factory=Api, description="The Event API and its clients.")
    pipeline: Pipeline = Field(default_factory=Pipeline, description="The pipeline's settings.")
    workers: Workers = Field(default_factory=Workers, description="The pool of workers.")
    beat: Beat = Field(default_factory=Beat, description="The scheduler.")
    broker: Broker = Field(default_factory=Broker, description="The task queue.")
    store: Store = Field(default_factory=Store, description="The database.")
    handler: HandlerModel = Field(default_factory=HandlerModel, description="What handling an event takes and does.")
    users: Users = Field(default_factory=Users, description="Who is told.")
    faults: tuple[Fault, ...] = Field((), description="What goes wrong.")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="What a run is held to, by metric.")
    expect: Expect = Field(default_factory=Expect, description="What the scenario is meant to show.")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Scenario:
        broken = rules.broken(rules.Parts.of(self))
        if broken:
            raise broken_rules("Scenario", broken)
        return self

    def _repr_html_(self) -> str:
        head = f"<b>{escape(self.name)}</b> {escape(self.about)}"
        warnings = "".join(f"<p>{escape(warning)}</p>" for warning in self.warnings())
        settings = f"<details><summary>all settings</summary><pre>{escape(yaml_text(self.resolved()))}</pre></details>"
        return f"<div>{head}{warnings}{settings}</div>"

    def nodes(self) -> tuple[str, ...]:
        """Return the names that a fault's `target` may have, groups included."""
        return rules.nodes(self.workers.count, self.faults)

    def policy(self) -> Policy:
        """Return the retry policy."""
        return self.pipeline.backoff.policy()

    def settings(self) -> Settings:
        """Return the pipeline's settings."""
        return self.pipeline.settings()

    @property
    def quiet_after_s(self) -> float:
        """The time at which the last fault is over; faults with an open end last until the horizon."""
        ends_s = [
            self.horizon_s if fault.over_s is None else fault.over_s for fault in self.faults if not _waits(fault)
        ]
        healed_s = self.horizon_s if self.heal_at_s is None else self.heal_at_s
        return min(self.horizon_s, healed_s, max(ends_s, default=0.0))

    def warnings(self) -> tuple[str, ...]:
        """Return what is allowed and yet likely not what was meant, a sentence each."""
        return rules.warnings(self)


def _waits(fault: Fault) -> bool:
    """Whether a fault lies in wait at an edge, which may never be passed."""
    return getattr(fault, "edge", None) is not None
