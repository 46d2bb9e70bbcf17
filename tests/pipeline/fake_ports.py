"""The tiniest world that the tasks run in: a clock one sets, a broker that counts, a channel, a handler."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline_ledger import SETTINGS, Luck

from tem_sim.pipeline.ports import ClaimedEvent, Notification, Unavailable
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tasks import Pipeline


class Killed(BaseException):
    """SIGKILL, as near as one process can come to it: no `except Exception` sees it."""


@dataclass
class SetClock:
    t: float = 0.0

    def now(self) -> float:
        return round(self.t, 6)


@dataclass
class CountingBroker:
    """Notes how many wake-ups were sent, and may look around while it does."""

    down: bool = False
    look: Callable[[], None] = lambda: None
    sent: list[int] = field(default_factory=list)

    def wake(self, count: int) -> None:
        self.look()
        if self.down:
            raise Unavailable("broker is down")
        self.sent.append(count)


@dataclass
class Channel:
    """Gives every notification to as many subscribers as it is told."""

    subscribers: int = 1
    down: bool = False
    said: list[Notification] = field(default_factory=list)

    def publish(self, notifications: Sequence[Notification]) -> list[int]:
        if self.down:
            raise Unavailable("redis is down")
        self.said += notifications
        return [self.subscribers] * len(notifications)


@dataclass
class Work:
    """Handles an event by calling `do`, and remembers the order."""

    do: Callable[[ClaimedEvent], object] = lambda event: None
    seen: list[int] = field(default_factory=list)

    def handle(self, event: ClaimedEvent) -> None:
        self.seen.append(event.event_id)
        self.do(event)


@dataclass
class DiesAt:
    """Kills whoever passes an edge for the nth time; counts all edges passed."""

    edge: str = ""
    nth: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    struck: bool = False

    def reach(self, edge: str) -> None:
        self.passed[edge] += 1
        if edge == self.edge and self.passed[edge] == self.nth:
            self.struck = True
            raise Killed(edge)


def pipeline(store: Store, settings: Settings = SETTINGS, **ports: object) -> Pipeline:
    """Return a pipeline over quiet fakes, but for the ports given."""
    quiet = {
        "clock": SetClock(),
        "chance": Luck(),
        "broker": CountingBroker(),
        "publisher": Channel(),
        "handler": Work(),
    }
    return Pipeline(store=store, settings=settings, **{**quiet, **ports})
