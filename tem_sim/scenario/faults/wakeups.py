"""What goes wrong with wake-ups on their way to the queue and through it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Duration, Fraction, PositiveCount, PositiveDuration, Some


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


class WakeupsDuplicated(Window):
    """Wake-ups are delivered more than once."""

    kind: Literal["wakeups_duplicated"] = "wakeups_duplicated"
    target: str = Field("redis", description="Whom it strikes.")
    probability: Fraction = Field(1.0, description="The probability that a wake-up is duplicated.")
    gaps_s: Some[Duration] = Field(
        (0.0,), alias="gaps", description="When its copies come, after the first: one copy for each gap."
    )

    shade: ClassVar[str] = "orchid"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        gaps = ", ".join(f"{gap_s:g}" for gap_s in self.gaps_s)
        return f"wake-ups come again after {gaps} s with probability {self.probability:g} {self.when()}"


class WakeupsReordered(Window):
    """Wake-ups overtake one another."""

    kind: Literal["wakeups_reordered"] = "wakeups_reordered"
    target: str = Field("redis", description="Whom it strikes.")
    within_s: PositiveDuration = Field(
        1.0, alias="within", description="Each is held up by a time between 0 and this, evenly drawn."
    )

    shade: ClassVar[str] = "plum"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"wake-ups are reordered within {self.within_s:g} s {self.when()}"


class WakeupsDelayed(Window):
    """Wake-ups are sent with a countdown: a worker gets them at once and may begin on them only when it is over."""

    kind: Literal["wakeups_delayed"] = "wakeups_delayed"
    target: str = Field("redis", description="Whom it strikes.")
    countdown_s: PositiveDuration = Field(alias="countdown", description="The countdown.")

    shade: ClassVar[str] = "thistle"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"wake-ups have a countdown of {self.countdown_s:g} s {self.when()}"


class PublishUnanswered(Window):
    """The broker stores what is sent, and its answer is lost: the client sends again, and fails in the end."""

    kind: Literal["publish_unanswered"] = "publish_unanswered"
    target: str = Field("redis", description="Whom it strikes.")
    probability: Fraction = Field(1.0, description="The probability that an answer is lost, drawn for each try.")
    tries: PositiveCount = Field(4, description="How often the client tries before the sender sees the error.")

    shade: ClassVar[str] = "palevioletred"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"answers to sends are lost with probability {self.probability:g} {self.when()}"
