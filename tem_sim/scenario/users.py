"""The users of a scenario: how many, how they are connected, and how the gateway makes sure that they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from tem_sim.scenario.base import Model
from tem_sim.scenario.distributions import Constant, Distribution, Exponential
from tem_sim.scenario.quantities import Duration, Fraction, Off, PositiveDuration, whole

if TYPE_CHECKING:
    from tem_sim.scenario.streams import Streams

MAX_USERS = 1_000_000


class Users(Model):
    """The users, their connections to the gateway, and how long a notification takes."""

    count: Annotated[
        int,
        BeforeValidator(whole(1, MAX_USERS)),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_USERS}),
    ] = Field(100, description="How many users there are; each event belongs to one.")
    connected: Fraction = Field(1.0, description="The share of users who are connected at the start.")
    session_s: Off[Distribution] = Field(
        None, alias="session", description="How long a user stays connected; `off` for the whole run."
    )
    away_s: Distribution = Field(
        Exponential(mean_s=30.0), alias="away", description="How long a user stays away between two sessions."
    )
    latency_s: Distribution = Field(
        Constant(value_s=0.02), alias="latency", description="The time from the gateway to the user."
    )
    pubsub_latency_s: Duration = Field(
        0.001, alias="pubsub_latency", description="The time from a publish to the gateway."
    )
    heartbeat_s: Off[PositiveDuration] = Field(
        20.0,
        alias="heartbeat",
        description="How often the gateway pings a socket; one that has not answered by the next ping is closed. "
        "`off` for no pings.",
    )
    resend_after_s: Off[PositiveDuration] = Field(
        30.0,
        alias="resend_after",
        description="When the gateway sends again, on the same socket, what the user has not acknowledged; `off` for "
        "only when the user connects again.",
    )

    def some(self, fraction: float, streams: Streams, *luck: str | int) -> list[int]:
        """Return a share of all users, from 1, by a luck of that name that goes by the user alone."""
        return [user for user in range(1, self.count + 1) if streams.uniform(*luck, user) < fraction]
