"""What all faults have in common: a window of time, or a trigger; and how they say themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, WithJsonSchema, model_validator

from tem_sim.pipeline.ports import EDGES
from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import Duration, Off, PositiveCount, PositiveDuration, PositiveRate

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random

CLOCKED = ("worker", "beat", "api", "gateway")

# Where a fault may come in between the statements of a transaction. After a commit: it is done, its answer is not back.
STATEMENT_EDGES = ("before_statement", "after_statement", "before_commit", "after_commit")
ALL_EDGES = (*EDGES, *STATEMENT_EDGES)

AT = "When it begins."
FOR = "How long it lasts."
RESTART_AFTER = "When it is started again; `off` for never."


def names_function(label: str) -> bool:
    """Whether a label such as `settle.settle` names a function of the pipeline, as the frame `steps` does."""
    module, _, name = label.partition(".")
    try:
        found = import_module(f"tem_sim.pipeline.{module}")
    except ImportError:
        return False
    return name.isidentifier() and callable(getattr(found, name, None))


class Window(Model):
    """A fault that begins at a time and lasts for a while."""

    at_s: Duration = Field(alias="at", description=AT)
    for_s: PositiveDuration = Field(alias="for", description=FOR)

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


Edge = Annotated[str, WithJsonSchema({"enum": list(ALL_EDGES)})]


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
    label: str | None = Field(
        None,
        description="With an edge of the statements: count only those of this function of the pipeline, such as "
        "`settle.settle`, as the frame `steps` names it.",
    )

    shade: ClassVar[str]
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    @property
    def start_s(self) -> float:
        """When it can first strike."""
        return self.at_s or self.from_s or 0.0

    def over_after_s(self, lasts_s: float) -> float | None:
        """Return when the last strike, which lasts so long, is over; None where nobody knows."""
        last_s = self.until_s if self.rate_per_s is not None else self.at_s
        return None if last_s is None else last_s + lasts_s

    def random_times(self, luck: Random, horizon_s: float) -> Iterator[float]:
        """Yield the times at which it strikes with its rate, each drawn when it is asked for.

        Between two of them whoever inflicts it makes one draw of the same luck for whom it strikes, dead or not, so
        that the times never depend on what the strikes did.
        """
        assert self.rate_per_s is not None
        until_s = horizon_s if self.until_s is None else self.until_s
        at_s = self.start_s
        while True:
            at_s -= math.log(1.0 - luck.random()) / self.rate_per_s
            if at_s >= until_s:
                return
            yield at_s

    def when(self) -> str:
        """Say when it happens."""
        if self.edge is not None:
            of = "" if self.label is None else f" of {self.label}"
            return f"at {self.edge}{of}, passing {self.nth}"
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
        if self.label is not None and self.edge not in STATEMENT_EDGES:
            strays.append(Broken(("label",), f"goes with edge: {', '.join(STATEMENT_EDGES)} only", self.label))
        elif self.label is not None and not names_function(self.label):
            strays.append(Broken(("label",), "must be a function of the pipeline, such as settle.settle", self.label))
        return strays


class Restarted(Triggered):
    """A fault whose node is away until its supervisor starts it again."""

    restart_after_s: Off[Duration] = Field(5.0, alias="restart_after", description=RESTART_AFTER)

    @property
    def for_s(self) -> float | None:
        """How long the node is away; None for ever."""
        return self.restart_after_s

    @property
    def over_s(self) -> float | None:
        """When it is over; None for what ends only with the run or when nobody knows."""
        return self.over_after_s(self.restart_after_s or 0.0)
