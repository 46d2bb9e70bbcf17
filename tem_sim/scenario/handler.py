"""What the user's code does with an event, as data and pure decisions: how long it takes and how it ends.

Luck comes in as uniforms, time not at all, so that the simulator and a live worker decide alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, WithJsonSchema, model_validator

from tem_sim.foreign.imports import ForeignError
from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.distributions import Distribution, Lognormal
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.quantities import (
    SHORTHANDS,
    Count,
    Duration,
    Fraction,
    Off,
    PositiveCount,
    PositiveDuration,
)


class Decision(NamedTuple):
    """How one attempt goes: after `service_s` it is done, failed with `error`, or its worker is dead.

    With a `late_error` it is done, and fails all the same.
    """

    service_s: float
    error: str | None = None
    kills: bool = False
    late_error: str | None = None


class Capacity(Model):
    """A downstream that slows under load: a first-come-first-served queue in front of so many servers."""

    servers: PositiveCount = Field(32, description="Calls served at the same time.")
    timeout_s: PositiveDuration = Field(1.0, alias="timeout", description="How long a caller waits for its answer.")
    queue: Count = Field(1000, description="Calls that may wait; one more is refused.")


class KindModel(Model):
    """How events of one kind differ from the rest; what is left out is as for all events."""

    effect: Literal["ok", "fail", "kill"] = Field(
        "ok", description="`fail`: every attempt fails (poison). `kill`: every attempt kills its worker."
    )
    service_time: Distribution | None = Field(None, description="How long an attempt takes.")
    failure_rate: Fraction | None = Field(None, description="The share of attempts that fail by luck.")
    fail_first: Count | None = Field(None, description="The first so many attempts of every event fail.")


class HandlerModel(Model):
    """The handler and the downstream that it calls."""

    service_time: Distribution = Field(
        Lognormal(mean_s=0.02, cv=0.5), description="How long an attempt takes; a bare duration is a constant."
    )
    fail_time_s: Duration = Field(
        0.05, alias="fail_time", description="How long a refused call takes, in an outage or at a full queue."
    )
    failure_rate: Fraction = Field(0.0, description="The share of attempts that fail by luck.")
    fail_first: Count = Field(0, description="The first so many attempts of every event fail.")
    kinds: dict[str, KindModel] = Field(
        default_factory=dict, description="How events of a kind differ, by the kind's name in events.kinds."
    )
    capacity: Off[Capacity] = Field(
        None, description="The downstream's capacity; `off` for one that never slows, however many call it."
    )
    call: Off[Annotated[str, WithJsonSchema(SHORTHANDS["import_path"])]] = Field(
        None,
        description="A function of the user's own to call with each event, as module:name, after the downstream has "
        "answered; `off` for none. The service time is then 0s unless it is given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _takes_its_own_time(cls, data: object) -> object:
        """Let the function's own sleeps be all the time there is, where no service time is given beside it."""
        if not isinstance(data, Mapping) or data.get("call", "off") == "off" or "service_time" in data:
            return data
        return {**data, "service_time": 0}

    @model_validator(mode="after")
    def _can_be_called(self) -> HandlerModel:
        from tem_sim.foreign.handlers import handler_from
        from tem_sim.foreign.imports import imported

        try:
            if self.call is not None:
                handler_from(imported(self.call), self.call)
        except ForeignError as error:
            hint = did_you_mean(error.word, error.known) if error.word else ""
            raise broken_rules("handler", [Broken(("call",), str(error), self.call, hint)]) from None
        return self

    def decide(self, kind: str, attempt_no: int, service_u: float, luck_u: float) -> Decision:
        """Return how attempt 1, 2, ... of an event goes, from two independent uniforms in [0, 1).

        The service time never depends on `luck_u`, nor the outcome on `service_u`.
        """
        special = self.kinds.get(kind)
        if special is None:
            service_s = self.service_time.quantile(service_u)
            return Decision(service_s, _failure(attempt_no, luck_u, self.fail_first, self.failure_rate))
        return self._decide_special(special, attempt_no, service_u, luck_u)

    def _decide_special(self, special: KindModel, attempt_no: int, service_u: float, luck_u: float) -> Decision:
        service_s = (special.service_time or self.service_time).quantile(service_u)
        if special.effect == "kill":
            return Decision(service_s, kills=True)
        if special.effect == "fail":
            return Decision(service_s, "this event always fails")
        first = self.fail_first if special.fail_first is None else special.fail_first
        rate = self.failure_rate if special.failure_rate is None else special.failure_rate
        return Decision(service_s, _failure(attempt_no, luck_u, first, rate))


def _failure(attempt_no: int, luck_u: float, fail_first: int, failure_rate: float) -> str | None:
    if attempt_no <= fail_first:
        return f"the first {fail_first} attempts fail"
    return "failed by luck" if luck_u < failure_rate else None
