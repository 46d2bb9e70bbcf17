"""What goes wrong with the load, and with single calls of the downstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Count, Duration, Factor, Fraction

if TYPE_CHECKING:
    from tem_sim.scenario.handler import Decision


class Flaky(Window):
    """Calls of the downstream fail by chance, each at its end and without its effect."""

    kind: Literal["flaky"] = "flaky"
    target: str = Field("handler", description="Whom it strikes.")
    probability: Fraction = Field(0.5, description="The probability that a call fails which would not have.")

    shade: ClassVar[str] = "lightcoral"
    strikes: ClassVar[tuple[str, ...]] = ("handler",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"calls fail with probability {self.probability:g} {self.when()}"

    def change(self, decision: Decision) -> Decision | None:
        """Return what it makes of a call that it hits; None where it makes no difference."""
        return None if decision.error is not None else decision._replace(error="the downstream is flaky")


class DownstreamSlow(Window):
    """Calls of the downstream take longer, all of them or some."""

    kind: Literal["downstream_slow"] = "downstream_slow"
    target: str = Field("handler", description="Whom it strikes.")
    factor: Factor = Field(10.0, description="How many times as long a call takes.")
    extra_s: Duration = Field(0.0, alias="extra", description="What it takes besides.")
    probability: Fraction = Field(1.0, description="The probability that a call is slow.")

    shade: ClassVar[str] = "darksalmon"
    strikes: ClassVar[tuple[str, ...]] = ("handler",)

    def describe(self) -> str:
        """Say the fault in one line."""
        more = f" and {self.extra_s:g} s more" if self.extra_s else ""
        return f"calls take {self.factor:g} times as long{more} with probability {self.probability:g} {self.when()}"

    def change(self, decision: Decision) -> Decision | None:
        """Return what it makes of a call that it hits."""
        return decision._replace(service_s=decision.service_s * self.factor + self.extra_s)


class PartialEffect(Window):
    """Calls of the downstream have their effect and fail all the same, so that the retry has it again."""

    kind: Literal["partial_effect"] = "partial_effect"
    target: str = Field("handler", description="Whom it strikes.")
    probability: Fraction = Field(0.5, description="The probability of it, for each call that would have been well.")

    shade: ClassVar[str] = "mediumorchid"
    strikes: ClassVar[tuple[str, ...]] = ("handler",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"calls fail after their effect with probability {self.probability:g} {self.when()}"

    def change(self, decision: Decision) -> Decision | None:
        """Return what it makes of a call that it hits; None where it makes no difference."""
        well = decision.error is None and not decision.kills
        return decision._replace(late_error="failed after its effect") if well else None


class AnswersLost(Window):
    """The API takes events in and its answer is lost, so that the client sends the same request again."""

    kind: Literal["answers_lost"] = "answers_lost"
    target: str = Field("api", description="Whom it strikes.")
    probability: Fraction = Field(1.0, description="The probability that a request's answer is lost.")

    shade: ClassVar[str] = "violet"
    strikes: ClassVar[tuple[str, ...]] = ("api",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the API's answers are lost with probability {self.probability:g} {self.when()}"


class HotKey(Window):
    """A large share of what arrives is for one user, or of one kind."""

    kind: Literal["hot_key"] = "hot_key"
    target: str = Field("api", description="Whom it strikes.")
    share: Fraction = Field(0.9, description="The share of the events that is moved to the hot key.")
    event_kind: str | None = Field(
        None, description="The kind that is hot, by its name in events.kinds; when left out, user 1 is."
    )

    shade: ClassVar[str] = "deeppink"
    strikes: ClassVar[tuple[str, ...]] = ("api",)

    def describe(self) -> str:
        """Say the fault in one line."""
        key = "for user 1" if self.event_kind is None else f"of kind {self.event_kind}"
        return f"{self.share:.0%} of the events are {key} {self.when()}"


class HugeEvents(Window):
    """Some events come with a huge payload, and every call for one of them takes longer."""

    kind: Literal["huge_events"] = "huge_events"
    target: str = Field("api", description="Whom it strikes.")
    share: Fraction = Field(0.1, description="The share of the events that is huge.")
    payload_bytes: Count = Field(1_000_000, description="The size of their payload.")
    slowdown: Factor = Field(10.0, description="How many times as long a call for one of them takes.")

    shade: ClassVar[str] = "chocolate"
    strikes: ClassVar[tuple[str, ...]] = ("api",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.share:.0%} of the events have {self.payload_bytes} bytes {self.when()}"
