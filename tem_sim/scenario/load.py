"""What the clients of the Event API send, and when again: a function of the arrival's number and the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.streams import Streams

# How long a client waits before it repeats a request, and before a double click sends the same one again.
CLIENT_RETRY_S = 1.0
DOUBLE_SUBMIT_S = 0.1


class Load:
    """The load of a scenario, arrival by arrival; they are numbered from 1."""

    def __init__(self, scenario: Scenario, streams: Streams) -> None:
        self._scenario = scenario
        self._streams = streams
        weights = scenario.events.kinds
        total = sum(weights.values())
        self._kinds: Sequence[str] = list(weights)
        self._edges = [edge / total for edge in accumulate(weights.values())]

    def key(self, number: int) -> str:
        """Return the idempotency key of an arrival."""
        return f"event-{number}"

    def user_id(self, number: int) -> int:
        """Return whom an arrival concerns."""
        return 1 + int(self._streams.uniform("user", number) * self._scenario.users.count)

    def kind(self, number: int) -> str:
        """Return the kind of an arrival, by weight."""
        uniform = self._streams.uniform("kind", number)
        pairs = zip(self._kinds, self._edges, strict=True)
        return next((kind for kind, edge in pairs if uniform < edge), self._kinds[-1])

    def pad(self) -> str:
        """Return what gives a payload its size."""
        return "x" * self._scenario.events.payload_bytes

    def requests(self, first: int, last: int) -> Iterator[range]:
        """Yield the requests in which the arrivals with these numbers go, the last included."""
        size = self._scenario.api.batch
        for start in range(first, last + 1, size):
            yield range(start, min(start + size, last + 1))

    def sent_twice(self, numbers: Sequence[int]) -> list[int]:
        """Return those of the arrivals that their client sends twice."""
        share = self._scenario.events.duplicate_submits
        if not share:
            return []
        return [number for number in numbers if self._streams.uniform("double-submit", number) < share]

    def again_after_s(self, first: int, tries: int, retry_after_s: float) -> float:
        """Return how long a client waits that was told to; `first` is the first number in its request.

        As much again by chance, or all whom one instant refused would come back in another.
        """
        return retry_after_s * (1 + self._streams.uniform("client-retry", first, tries))
