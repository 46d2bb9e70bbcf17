"""What the downstream of the handler answers, and the queue in front of it: simulated and live alike."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.handler import Capacity

# What stands in `last_error` where no call came about.
AWAY = "connection refused"
QUEUE_FULL = "downstream queue is full"


class Outage(Exception):
    """The downstream refuses every call."""


class Overload(Exception):
    """The downstream's queue is full, or the answer took longer than the caller waits."""


class Refused(Exception):
    """The downstream failed this call, by luck or because of what the event is."""


class Servers:
    """A first-come-first-served queue in front of `c` servers, in which a call's end is known as soon as it arrives.

    A caller that times out goes away, but its call stays in the queue and is served: the work that a storm wastes.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._free_at = [0.0] * capacity.servers
        self._ends: list[float] = []

    @property
    def too_late(self) -> str:
        """What the caller says that did not wait for its answer."""
        return f"no answer within {self.capacity.timeout_s:g} s"

    def in_flight(self, now: float) -> int:
        """Return the number of calls queued or served at this instant."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)

    def admit(self, now: float, service_s: float) -> float | None:
        """Take a call in and return when it will have been served; None when the queue is full."""
        if self.in_flight(now) >= self.capacity.servers + self.capacity.queue:
            return None
        start = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, start + service_s)
        heapq.heappush(self._ends, start + service_s)
        return start + service_s
