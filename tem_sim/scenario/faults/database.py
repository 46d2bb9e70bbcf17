"""What goes wrong with the database: it is away, drops connections, fails statements, is slow or locked, or forgets."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tem_sim.scenario.base import Broken, broken_rules
from tem_sim.scenario.faults.base import CLOCKED, Triggered, Window, names_function
from tem_sim.scenario.quantities import Duration, Factor, Fraction, Off, PositiveCount, Spread

WHOSE = "Whose connections: those of a node, of all `workers`, or of everybody, which is `database`."
LABEL = "Only in this function of the pipeline, such as `settle.settle`, as the frame `steps` names it."
Point = Literal["before_statement", "after_statement", "before_commit", "after_commit"]


class OfTheDatabase(Window):
    """What faults of the database with a window have in common."""

    target: str = Field("database", description=WHOSE)

    strikes: ClassVar[tuple[str, ...]] = ("database", *CLOCKED)
    # Whether it strikes between the statements of a transaction.
    needs_statements: ClassVar[bool] = True

    @property
    def whose(self) -> str:
        """Say whose connections it strikes, after what it does to them."""
        return "" if self.target in ("database", "*") else f" for {self.target}"


class Labelled(OfTheDatabase):
    """A fault that may strike one function of the pipeline alone."""

    label: str | None = Field(None, description=LABEL)

    @model_validator(mode="after")
    def _keeps_to_itself(self) -> Labelled:
        broken = self._broken()
        if broken:
            raise broken_rules("fault", broken)
        return self

    def _broken(self) -> list[Broken]:
        if self.label is None or names_function(self.label):
            return []
        return [Broken(("label",), "must be a function of the pipeline, such as settle.settle", self.label)]

    @property
    def where(self) -> str:
        """Say in which function it strikes."""
        return "" if self.label is None else f" of {self.label}"


class DatabaseDown(OfTheDatabase):
    """The database server is away: it refuses new connections, and the open ones are dropped when it goes."""

    kind: Literal["database_down"] = "database_down"
    connections: Literal["dropped", "kept"] = Field(
        "dropped",
        description="What becomes of the open ones: dropped as by a restart, or kept, as when only new ones fail.",
    )

    shade: ClassVar[str] = "firebrick"

    def describe(self) -> str:
        """Say the fault in one line."""
        dropped = ", open ones dropped" if self.connections == "dropped" else ""
        return f"the database refuses connections{self.whose}{dropped} {self.when()}"


class ConnectionsDropped(Triggered):
    """Connections to the database are dropped: all of a node's, or that of the one that passes a step of its code."""

    kind: Literal["connections_dropped"] = "connections_dropped"
    target: str = Field("database", description=WHOSE)

    shade: ClassVar[str] = "tomato"
    strikes: ClassVar[tuple[str, ...]] = ("database", *CLOCKED)
    needs_statements: ClassVar[bool] = True

    @property
    def for_s(self) -> float:
        """How long it lasts: no time at all."""
        return 0.0

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(0.0)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"connections of {self.target} to the database dropped {self.when()}"


class CommitUnanswered(Labelled):
    """Commits whose answer never comes: the connection is lost, and nobody knows whether they were done."""

    kind: Literal["commit_unanswered"] = "commit_unanswered"
    probability: Fraction = Field(1.0, description="The share of commits that it strikes.")
    committed: Fraction = Field(0.5, description="The share of those that are done all the same.")

    shade: ClassVar[str] = "mediumvioletred"

    def describe(self) -> str:
        """Say the fault in one line."""
        return (
            f"{self.probability:.0%} of commits{self.where}{self.whose} get no answer, and {self.committed:.0%} of "
            f"them are done, {self.when()}"
        )


class DatabaseErrors(Labelled):
    """The database fails statements or commits, by chance, with an error of its own."""

    kind: Literal["database_errors"] = "database_errors"
    error: Literal[
        "serialization_failure",
        "deadlock",
        "lock_timeout",
        "statement_timeout",
        "disk_full",
        "read_only",
        "connection_lost",
    ] = Field(description="Which error.")
    probability: Fraction = Field(1.0, description="The share of statements or commits that fail.")
    point: Point = Field(
        "before_statement",
        description="Where: instead of a statement or a commit; `after_` one only connections are lost.",
    )

    shade: ClassVar[str] = "darkred"

    def _broken(self) -> list[Broken]:
        broken = super()._broken()
        if self.point.startswith("after_") and self.error != "connection_lost":
            broken.append(Broken(("point",), "is too late for this error, only a connection is lost then", self.point))
        return broken

    def describe(self) -> str:
        """Say the fault in one line."""
        what = "commits" if self.point.endswith("commit") else "statements"
        error = self.error.replace("_", " ")
        after = ", when done," if self.point.startswith("after_") else ""
        return f"{self.probability:.0%} of {what}{self.where}{self.whose}{after} fail with {error} {self.when()}"


class DatabaseSlow(OfTheDatabase):
    """The database is slow: all that is asked of it takes longer, by a factor, by chance, or the longer its queue."""

    kind: Literal["database_slow"] = "database_slow"
    factor: Factor = Field(1.0, description="How many times as long everything takes.")
    spread: Off[Spread] = Field(
        None,
        description="How unequal that is: the coefficient of variation of a lognormal factor of mean 1 that each "
        "statement and commit draws besides; `off` for none.",
    )
    serves: Off[PositiveCount] = Field(
        None,
        description="How many it serves at a time: with more of them at work, each takes longer in proportion; `off` "
        "for as many as there are.",
    )

    shade: ClassVar[str] = "lightsalmon"
    needs_statements: ClassVar[bool] = False

    @model_validator(mode="after")
    def _is_slow(self) -> DatabaseSlow:
        if (self.factor, self.spread, self.serves) == (1, None, None):
            raise broken_rules("fault", [Broken((), "slows nothing: give factor, spread or serves", None)])
        return self

    def describe(self) -> str:
        """Say the fault in one line."""
        given = [
            *([f"{self.factor:g} times as slow"] if self.factor != 1 else []),
            *([f"slow by chance (spread {self.spread:g})"] if self.spread is not None else []),
            *([f"slower with more than {self.serves} at work"] if self.serves is not None else []),
        ]
        return f"the database is {' and '.join(given)}{self.whose} {self.when()}"


class PoolExhausted(OfTheDatabase):
    """Places in the connection pool of a node are taken by others, such as leaked sessions; who needs one waits."""

    kind: Literal["pool_exhausted"] = "pool_exhausted"
    places: Off[PositiveCount] = Field(
        None, description="How many are taken, of store.pool.size; `off` for all of them."
    )

    shade: ClassVar[str] = "salmon"

    def describe(self) -> str:
        """Say the fault in one line."""
        many = "all connections" if self.places is None else f"{self.places} connections"
        whose = "every pool" if self.target in ("database", "*") else f"the pool of {self.target}"
        return f"{many} of {whose} taken {self.when()}"


class DatabaseLocked(OfTheDatabase):
    """Somebody else, such as a migration or a backup, holds the lock without which nobody writes."""

    kind: Literal["database_locked"] = "database_locked"
    target: str = Field("database", description="Whom it strikes.")

    shade: ClassVar[str] = "sienna"
    strikes: ClassVar[tuple[str, ...]] = ("database",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"somebody else locks the database {self.when()}"


class Failover(OfTheDatabase):
    """The primary is lost and a replica takes its place: all connections end, and what it had not got is gone."""

    kind: Literal["failover"] = "failover"
    target: str = Field("database", description="Whom it strikes.")
    lost_s: Duration = Field(
        0.0, alias="lost", description="How far the replica was behind: what was committed in this time vanishes."
    )

    shade: ClassVar[str] = "saddlebrown"
    strikes: ClassVar[tuple[str, ...]] = ("database",)

    @model_validator(mode="after")
    def _lags_within_the_run(self) -> Failover:
        if self.lost_s > self.at_s:
            rule = f"must not be longer than the run was by then (at: {self.at_s:g} s)"
            raise broken_rules("fault", [Broken(("lost",), rule, self.lost_s)])
        return self

    def describe(self) -> str:
        """Say the fault in one line."""
        lost = f", the last {self.lost_s:g} s of commits gone" if self.lost_s else ""
        return f"a replica takes over{lost}, away {self.when()}"
