"""The database of a scenario: its latencies, how far transactions are taken apart, what they see of each other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.distributions import Constant, Distribution, Exponential
from tem_sim.scenario.quantities import Off, PositiveCount, PositiveDuration, Switch
from tem_sim.scenario.schedules import RandomSchedule, Schedule

# The settings that have no effect where a transaction is one instant. A schedule is refused there.
ABOUT_STATEMENTS = (
    "isolation",
    "statement_latency_s",
    "commit_latency_s",
    "connect_latency_s",
    "nodes",
    "pool",
    "lock_timeout_s",
    "idle_in_transaction_timeout_s",
)


class Pool(Model):
    """The connection pool that each node has."""

    size: PositiveCount = Field(15, description="Connections that a node has at most.")
    timeout_s: PositiveDuration = Field(
        30.0, alias="timeout", description="How long a thread waits for one before it gives up."
    )


class NodeLatencies(Model):
    """What differs for one node; what is left out is as it is for the others."""

    statement_latency_s: Distribution | None = Field(
        None, alias="statement_latency", description="The time of a statement from this node."
    )
    commit_latency_s: Distribution | None = Field(
        None, alias="commit_latency", description="The time of a commit from this node."
    )
    connect_latency_s: Distribution | None = Field(
        None, alias="connect_latency", description="The time that this node takes to open a connection."
    )


class Store(Model):
    """The database."""

    latency_s: Distribution = Field(
        Constant(value_s=0.001),
        alias="latency",
        description="With interleave: transaction, the time of a transaction; a bare duration is a constant.",
    )
    interleave: Literal["transaction", "statement"] = Field(
        "transaction",
        description="Whether a transaction is one instant, or others come in between its statements, on connections "
        "of their own.",
    )
    isolation: IsolationLevel = Field(
        IsolationLevel.READ_COMMITTED,
        description="With interleave: statement, what a transaction sees of others: read_committed, snapshot "
        "(REPEATABLE READ on PostgreSQL) or serializable (BEGIN IMMEDIATE on SQLite).",
    )
    statement_latency_s: Distribution = Field(
        Exponential(mean_s=0.0005),
        alias="statement_latency",
        description="With interleave: statement, the time of each statement.",
    )
    commit_latency_s: Distribution = Field(
        Exponential(mean_s=0.0005), alias="commit_latency", description="With interleave: statement, that of a commit."
    )
    connect_latency_s: Distribution = Field(
        Constant(value_s=0.002),
        alias="connect_latency",
        description="With interleave: statement, the time to open a connection.",
    )
    nodes: dict[str, NodeLatencies] = Field(
        default_factory=dict, description="With interleave: statement, other latencies for these nodes."
    )
    pool: Pool = Field(default_factory=Pool, description="With interleave: statement, the connections of each node.")
    lock_timeout_s: Off[PositiveDuration] = Field(
        None,
        alias="lock_timeout",
        description="With interleave: statement, how long a statement waits for another's lock; `off` for as long as "
        "it takes, which is 30 s on SQLite.",
    )
    schedule: Schedule = Field(
        default_factory=RandomSchedule,
        description="With interleave: statement, who goes on when several threads could; all but `random` leave the "
        "latencies of the store out. One schedule per run, and `bounded` draws its own: certificates that "
        "none breaks an invariant come from `tem-sim races`.",
    )
    idle_in_transaction_timeout_s: Off[PositiveDuration] = Field(
        None,
        alias="idle_in_transaction_timeout",
        description="With interleave: statement, after how long without a statement the server ends a connection whose "
        "transaction is open; `off` for never.",
    )
    watch: Switch | None = Field(
        None,
        description="Keep every statement and every row it changed, for the checks of who did what; when left out, "
        "with interleave: statement only.",
    )

    @property
    def watched(self) -> bool:
        """Whether the frames `steps` and `changes` are kept."""
        return self.interleave == "statement" if self.watch is None else self.watch

    def set_in_vain(self) -> list[str]:
        """Return the keys of what differs from its default and is about the statements of a transaction."""
        default = Store()
        return [
            field.alias or name
            for name, field in Store.model_fields.items()
            if name in ABOUT_STATEMENTS and getattr(self, name) != getattr(default, name)
        ]

    @model_validator(mode="after")
    def _schedule_needs_statements(self) -> Store:
        if self.interleave == "transaction" and self.schedule.strategy != "random":
            rule = "is about statements, and a transaction is one instant here; set store.interleave: statement"
            raise broken_rules("store", [Broken(("schedule",), rule, self.schedule.strategy)])
        return self
