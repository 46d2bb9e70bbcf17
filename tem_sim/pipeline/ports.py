"""What the pipeline needs from the world: time, chance, a broker, a publisher, a handler.

The pipeline decides and never waits on its own. Whatever takes time or luck comes in through one of these, so that
the same functions run under Celery and under simulated time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

QUEUE = "processing_queue"

# Named points in the tasks at which a fault may strike. In production reaching one does nothing.
EDGES = (
    "before_claim",
    "after_claim",
    "before_handle",
    "after_handle",
    "before_settle",
    "after_settle",
    "after_commit_before_wake",
    "before_publish",
    "after_publish",
)


class Unavailable(ConnectionError):
    """The broker or the publisher could not be reached; adapters translate their client's errors into this."""


class Random(Protocol):
    """A source of uniforms: `random.Random`, a numpy `Generator` and a named stream all fit."""

    def random(self) -> float:
        """Return the next uniform in [0, 1)."""
        ...


class ClaimedEvent(NamedTuple):
    """One event as its worker holds it: the claim's token and what was read with it."""

    event_id: int
    attempt_no: int
    retry_count: int
    crash_count: int
    version: int
    last_delay_s: float | None
    user_id: int
    kind: str
    payload_json: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Notification:
    """What the user is told. `dedupe_key` is None where no outbox row stands behind it."""

    event_id: int
    user_id: int
    dedupe_key: str | None
    created_at: float


class Clock(Protocol):
    """The wall clock of the node that asks."""

    def now(self) -> float:
        """Return seconds since the epoch, rounded to the microsecond, which is what the stores keep."""
        ...


class Chance(Protocol):
    """Named random streams."""

    def stream(self, *name: str | int) -> Random:
        """Return the stream of that name, at its beginning."""
        ...


class Broker(Protocol):
    """The task queue. A wake-up is a hint that rows are due: it names no event, and may be lost or doubled."""

    def wake(self, count: int) -> None:
        """Send `count` wake-ups to `processing_queue`; raise `Unavailable` when that fails."""
        ...


class Publisher(Protocol):
    """The pub/sub side of Redis."""

    def publish(self, notifications: Sequence[Notification]) -> Sequence[int]:
        """Publish in one round trip; return for each the number of subscribers that got it, or raise `Unavailable`."""
        ...


class Handler(Protocol):
    """The user's code: does the event's work, or raises."""

    def handle(self, event: ClaimedEvent) -> None:
        """Do the work of one attempt; any `Exception` is a failed attempt of this event alone."""
        ...


class Failpoints(Protocol):
    """Where a test or the simulator may strike between two steps of a task."""

    def reach(self, edge: str) -> None:
        """Pass the named edge, one of `EDGES`."""
        ...


class NoFailpoints:
    """Production's failpoints: none."""

    def reach(self, edge: str) -> None:
        """Pass."""
