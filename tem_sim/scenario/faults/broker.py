"""What goes wrong with Redis as a whole: it restarts, freezes, or is full."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tem_sim.scenario.base import Broken, broken_rules
from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Count, Duration, Off, PositiveDuration


class BrokerRestart(Window):
    """Redis goes away and comes back, with or without its messages; pub/sub is gone meanwhile."""

    kind: Literal["broker_restart"] = "broker_restart"
    target: str = Field("redis", description="Whom it strikes.")
    messages: Literal["kept", "lost"] | None = Field(
        None, description="What becomes of the queue; when left out, as broker.durable says."
    )
    undone_s: Duration = Field(
        0.0,
        alias="undone",
        description="How much of the last writes is not on the disk: what was sent, handed out and acknowledged in "
        "that time did not happen. Of kept messages only.",
    )
    resubscribe_after_s: Duration = Field(
        0.0,
        alias="resubscribe_after",
        description="How long after it is back the gateway subscribes again; until then a publish reaches nobody, and "
        "nobody sees an error.",
    )

    shade: ClassVar[str] = "steelblue"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        fate = f", messages {self.messages}" if self.messages else ""
        undone = f", the last {self.undone_s:g} s undone" if self.undone_s else ""
        return f"the broker restarts {self.when()}{fate}{undone}"

    @model_validator(mode="after")
    def _undoes_what_is_kept(self) -> BrokerRestart:
        if self.undone_s and self.messages == "lost":
            raise broken_rules("fault", [Broken(("undone",), "goes with kept messages only", self.undone_s)])
        return self


class BrokerFrozen(Window):
    """Redis hangs, as a stopped process does: no connection breaks, nothing is answered, and nothing is lost."""

    kind: Literal["broker_frozen"] = "broker_frozen"
    target: str = Field("redis", description="Whom it strikes.")
    socket_timeout_s: Off[PositiveDuration] = Field(
        None,
        alias="socket_timeout",
        description="How long a client waits for each of its two tries to be answered; `off` for as long as it takes.",
    )

    shade: ClassVar[str] = "lightsteelblue"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        patience = "" if self.socket_timeout_s is None else f", clients time out after 2 x {self.socket_timeout_s:g} s"
        return f"the broker hangs {self.when()}{patience}"


class QueueFull(Window):
    """Redis is out of memory: the queue takes in no more, or drops the oldest for the newest."""

    kind: Literal["queue_full"] = "queue_full"
    target: str = Field("redis", description="Whom it strikes.")
    room: Count = Field(0, description="Wake-ups that may wait in the queue, those handed out not counted.")
    policy: Literal["reject_newest", "drop_oldest"] = Field(
        "reject_newest",
        description="Refuse the next one, which its sender is told, or drop the oldest, which nobody is.",
    )

    shade: ClassVar[str] = "cadetblue"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        what = "refuses the newest" if self.policy == "reject_newest" else "drops the oldest"
        return f"the queue holds {self.room} wake-ups and {what} {self.when()}"
