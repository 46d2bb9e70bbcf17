"""The lifecycle in plain Python: what each step should do to each event, for the real one to be held against.

No store, no SQL, no two processes: one dictionary, and one step after the other. It describes a pipeline whose guards
hold; where a setting opens one of the holes, the real one does something else, and that is what is to be found.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tem_sim.pipeline.claims import NEVER_S
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import ClaimOrder, Settings


class Luck:
    """Streams of chance by name alone; the real lifecycle and the reference draw the same from them."""

    def stream(self, *name: object) -> random.Random:
        """Return the stream of this name, at its beginning."""
        return random.Random(repr(name))


@dataclass
class Expected:
    """What the reference thinks of one event."""

    event_id: int
    queued_at: float
    woken_at: float
    life_began_at: float
    status: str = "QUEUED"
    retry_count: int = 0
    crash_count: int = 0
    replay_count: int = 0
    attempt_no: int = 0
    lease_owner: str | None = None
    lease_expires_at: float | None = None
    next_retry_at: float | None = None
    last_delay_s: float | None = None
    started: bool = field(default=False, metadata={"log": True})
    history: list[str] = field(default_factory=lambda: ["submit"], metadata={"log": True})
    ends: list[str] = field(default_factory=list, metadata={"log": True})
    published: bool | None = field(default=None, metadata={"log": True})

    def move(self, status: str, cause: str) -> None:
        """Take an edge; what belongs to the state before is gone."""
        self.status = status
        self.history.append(cause)
        self.lease_owner = self.lease_expires_at = self.next_retry_at = None

    def requeue(self, cause: str, now: float) -> None:
        """Go back to QUEUED, with a wake-up."""
        self.move("QUEUED", cause)
        self.queued_at = self.woken_at = now


# The fields that are columns of a row; the others are told by the logs and the outbox.
COLUMNS = tuple(name for name, made in Expected.__dataclass_fields__.items() if not made.metadata)

_ORDERS: dict[ClaimOrder, Callable[[Expected], tuple[Any, ...]]] = {
    ClaimOrder.OLDEST_FIRST: lambda event: (event.queued_at, event.event_id),
    ClaimOrder.NEW_FIRST: lambda event: (event.retry_count > 0, event.queued_at, event.event_id),
    ClaimOrder.NEWEST_FIRST: lambda event: (-event.queued_at, -event.event_id),
}
# What one event's rows alone do not decide.
_NOT_KNOWN = ("concurrency_limit", "retry_budget", "breaker")


class Reference:
    """All events as they should be."""

    def __init__(self, settings: Settings) -> None:
        strangers = [name for name in _NOT_KNOWN if getattr(settings, name) is not None]
        if strangers:
            raise ValueError(f"settings.{strangers[0]}: the reference knows nothing of it; leave it at None")
        self.settings = settings
        self.events: dict[int, Expected] = {}

    def those(self, status: str) -> list[Expected]:
        """Return the events in a state, in the order of their ids."""
        return [self.events[event_id] for event_id in sorted(self.events) if self.events[event_id].status == status]

    def owns(self, worker: str, claimed: ClaimedEvent) -> bool:
        """Tell whether this very claim still holds its event."""
        event = self.events[claimed.event_id]
        return (event.status, event.attempt_no, event.lease_owner) == ("PROCESSING", claimed.attempt_no, worker)

    def next_due(self) -> float | None:
        """Return when a retry comes due or a lease runs out next."""
        times = [time for event in self.events.values() for time in (event.next_retry_at, event.lease_expires_at)]
        return min((time for time in times if time is not None and time != NEVER_S), default=None)

    # --- steps

    def submit(self, event_ids: Sequence[int], now: float) -> None:
        """Accept new events."""
        self.events |= {event_id: Expected(event_id, now, now, now) for event_id in event_ids}

    def claim(self, worker: str, size: int, now: float) -> list[Expected]:
        """Give up to `size` events to a worker."""
        lease_s = self.settings.lease_s
        taken = sorted(self.those("QUEUED"), key=_ORDERS[self.settings.claim_order])[:size]
        for event in taken:
            event.move("PROCESSING", "claim")
            event.attempt_no += 1
            event.lease_owner, event.started = worker, False
            event.lease_expires_at = NEVER_S if lease_s is None else round(now + lease_s, 6)
        return taken

    def settle(self, worker: str, claimed: ClaimedEvent, failed: bool, now: float) -> bool:
        """End an attempt; tell whether its worker still held the event."""
        event = self.events[claimed.event_id]
        if not self.owns(worker, claimed):
            event.ends.append("superseded")
            return False
        event.ends.append("error" if failed else "ok")
        if failed:
            self._fail(event, now)
        else:
            event.move("PROCESSED", "ok")
            event.last_delay_s = None
            event.published = False if self.settings.outbox else None
        return True

    def _fail(self, event: Expected, now: float) -> None:
        policy, event.retry_count = self.settings.policy, event.retry_count + 1
        if policy.max_retries is not None and event.retry_count > policy.max_retries:
            event.move("EXTINCT", "exhausted")
            return
        rng = Luck().stream("backoff", event.event_id, event.attempt_no)
        delay_s = round(policy.delay(event.retry_count, rng, event.last_delay_s), 6)
        if policy.gives_up(event.retry_count, now - event.life_began_at, delay_s):
            event.move("EXTINCT", "exhausted")
            return
        event.move("FAILED", "error")
        event.last_delay_s, event.next_retry_at = delay_s, round(now + delay_s, 6)

    def end_unhandled(self, worker: str, claimed: ClaimedEvent, how: str, now: float) -> bool:
        """End a claim without a call, `expired` or `released`; nothing happens when it is this claim's no more."""
        event = self.events[claimed.event_id]
        if not self.owns(worker, claimed):
            return False
        event.ends.append(how)
        if how == "expired":
            event.move("EXTINCT", "expired")
        else:
            event.requeue("release", now)
        return True

    def requeue(self, limit: int | None, now: float) -> int:
        """Release what is due, the longest due first."""
        due = [
            event for event in self.those("FAILED") if event.next_retry_at is not None and event.next_retry_at <= now
        ]
        due = sorted(due, key=lambda event: (event.next_retry_at, event.event_id))[:limit]
        for event in due:
            event.requeue("retry", now)
        return len(due)

    def rescue(self, now: float) -> tuple[int, int]:
        """Take back what dead workers hold; return how many were requeued, and how many given up."""
        budget = math.inf if self.settings.crash_budget is None else self.settings.crash_budget
        expired = [e for e in self.those("PROCESSING") if e.lease_expires_at is not None and e.lease_expires_at <= now]
        for event in expired:
            event.ends.append("lost")
            event.crash_count += event.crash_count == 0 or event.started
            if event.crash_count > budget:
                event.move("EXTINCT", "crashed")
            else:
                event.requeue("rescue", now)
        extinct = sum(event.status == "EXTINCT" for event in expired)
        return len(expired) - extinct, extinct

    def sweep(self, sweep_after_s: float, now: float) -> int:
        """Announce again what has waited too long."""
        old = [event for event in self.those("QUEUED") if event.woken_at <= round(now - sweep_after_s, 6)]
        for event in old:
            event.woken_at = now
        return len(old)

    def replay(self, event_id: int, now: float) -> bool:
        """Give an EXTINCT event a new life."""
        event = self.events[event_id]
        if event.status != "EXTINCT":
            return False
        event.retry_count = event.crash_count = 0
        event.last_delay_s = None
        event.replay_count += 1
        event.life_began_at = now
        event.requeue("replay", now)
        return True
