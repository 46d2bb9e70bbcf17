"""What goes wrong between the outbox and the user: pub/sub, the gateway, the sockets, the users, and what they read."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.quantities import Count, Duration, Fraction, Off, PositiveDuration, Switch

RECONNECT = "Within which time users dial again, each at random; 0s for all at once, as a herd."


class GatewayDisconnect(Window):
    """The users' sockets drop; with a fraction of 1 the gateway itself is gone, subscription and all."""

    kind: Literal["gateway_disconnect"] = "gateway_disconnect"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(1.0, description="The share of users who are cut off.")
    reconnect_within_s: Duration = Field(1.0, alias="reconnect_within", description=RECONNECT)

    shade: ClassVar[str] = "darkseagreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        whom = "the gateway is away" if self.fraction == 1 else f"{self.fraction:.0%} of the sockets drop"
        return f"{whom} {self.when()}"


class SubscriberGap(Window):
    """The gateway is not subscribed for a while, all sockets open: nobody hears, and no publisher gets an error."""

    kind: Literal["subscriber_gap"] = "subscriber_gap"
    target: str = Field("gateway", description="Whom it strikes.")
    counted: Switch = Field(
        False, description="Whether Redis counts the gateway as a receiver all the same, and drops what is for it."
    )

    shade: ClassVar[str] = "mediumseagreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the gateway hears nothing of what is published {self.when()}"


class NotificationsDoubled(Window):
    """What is published comes twice: its publisher repeats itself, or is told that it failed though it was heard."""

    kind: Literal["notifications_doubled"] = "notifications_doubled"
    target: str = Field("redis", description="Whom it strikes.")
    probability: Fraction = Field(
        1.0, description="The probability of it, for each notification, or with `unanswered` each publish."
    )
    how: Literal["twice", "unanswered"] = Field(
        "twice",
        description="`twice`: each comes again after a while. `unanswered`: it is heard, and its publisher is told "
        "that it failed.",
    )
    after_s: Duration = Field(0.0, alias="after", description="With twice: how long after the first.")

    shade: ClassVar[str] = "yellowgreen"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        what = "notifications come twice" if self.how == "twice" else "publishes are heard and not answered"
        return f"{what} with probability {self.probability:g} {self.when()}"


class NotificationsReordered(Window):
    """Publishes take longer by chance: those of two publishers overtake each other, one publisher's never do."""

    kind: Literal["notifications_reordered"] = "notifications_reordered"
    target: str = Field("redis", description="Whom it strikes.")
    within_s: PositiveDuration = Field(1.0, alias="within", description="The longest time that one takes longer.")

    shade: ClassVar[str] = "olivedrab"
    strikes: ClassVar[tuple[str, ...]] = ("redis",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"publishes take up to {self.within_s:g} s longer {self.when()}"


class SocketsHalfOpen(Window):
    """Users are off the network, their sockets look alive: sends succeed and nobody sees them, until a ping fails."""

    kind: Literal["sockets_half_open"] = "sockets_half_open"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(1.0, description="The share of users whose sockets are dead.")

    shade: ClassVar[str] = "darkolivegreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.fraction:.0%} of the sockets are dead and look alive {self.when()}"


class SlowConsumers(Window):
    """Users read too slowly: the gateway holds so much for each, then drops what is more, or closes the socket."""

    kind: Literal["slow_consumers"] = "slow_consumers"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(1.0, description="The share of users who are slow.")
    buffer: Count = Field(10, description="Notifications that the gateway holds for a user.")
    policy: Literal["drop", "close"] = Field(
        "drop", description="What one more does: it is dropped, or the socket is closed with all that it held."
    )
    read_every_s: Off[PositiveDuration] = Field(
        None, alias="read_every", description="How long a slow user takes for each; `off` for reading none at all."
    )

    shade: ClassVar[str] = "mediumturquoise"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        pace = "none" if self.read_every_s is None else f"one in {self.read_every_s:g} s"
        return f"{self.fraction:.0%} of the users read {pace}, {self.buffer} are held for each, {self.when()}"


class UsersOffline(Window):
    """Users lose the network and know it; neither those with a socket nor those about to dial have one meanwhile."""

    kind: Literal["users_offline"] = "users_offline"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(1.0, description="The share of users who are offline.")
    reconnect_within_s: Duration = Field(1.0, alias="reconnect_within", description=RECONNECT)

    shade: ClassVar[str] = "palegreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"{self.fraction:.0%} of the users are offline {self.when()}"


class AcksLost(Window):
    """A user sees a notification, and its acknowledgement never comes to the gateway."""

    kind: Literal["acks_lost"] = "acks_lost"
    target: str = Field("gateway", description="Whom it strikes.")
    probability: Fraction = Field(1.0, description="The probability that an acknowledgement is lost.")

    shade: ClassVar[str] = "mediumaquamarine"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"acknowledgements are lost with probability {self.probability:g} {self.when()}"


class RoutingStale(Window):
    """The gateway restarts as another set of instances: what is for some users goes to one without their socket."""

    kind: Literal["routing_stale"] = "routing_stale"
    target: str = Field("gateway", description="Whom it strikes.")
    fraction: Fraction = Field(
        0.5, description="The share of users whose route is stale; of n instances dealt anew (n−1)/n."
    )

    shade: ClassVar[str] = "seagreen"
    strikes: ClassVar[tuple[str, ...]] = ("gateway",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"the gateway restarts, and the routes of {self.fraction:.0%} of the users are stale {self.when()}"


class ReadLag(Window):
    """Users who are told read the event at once, from a replica that lags behind the store."""

    kind: Literal["read_lag"] = "read_lag"
    target: str = Field("api", description="Whom it strikes.")
    lag_s: PositiveDuration = Field(1.0, alias="lag", description="How far the replica is behind.")

    shade: ClassVar[str] = "darkcyan"
    strikes: ClassVar[tuple[str, ...]] = ("api",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"users read from a replica that is {self.lag_s:g} s behind {self.when()}"
