"""Redis pub/sub: from the publisher to the gateway, if it listens; and what faults make of the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tem_sim.pipeline.ports import Notification, Unavailable

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random
    from tem_sim.sim.gateway import Gateway
    from tem_sim.sim.kernel import Kernel
    from tem_sim.sim.publishing import Client


@dataclass(slots=True, eq=False)
class Gap:
    """A while in which the subscriber gets nothing; `counted` where Redis takes it for one all the same."""

    counted: bool
    missed: int = 0


@dataclass(slots=True, eq=False)
class Repeats:
    """Publishes that happen twice: each notification again after a while, or the whole publish `unanswered`."""

    probability: float
    luck: Random
    after_s: float
    unanswered: bool
    hits: int = 0


class Reordering:
    """Publishes that take longer by chance, those of one publisher in their order: Redis keeps a connection's."""

    def __init__(self, within_s: float, luck: Random) -> None:
        self.overtaken = 0
        self.within_s = within_s
        self._luck = luck
        self._arrives_s: dict[str, float] = {}

    def delay_s(self, publisher: str, soonest_s: float, now: float) -> float:
        """Return how long a publish takes that would arrive at `soonest_s`."""
        at_s = max(soonest_s + self.within_s * self._luck.random(), self._arrives_s.get(publisher, 0.0))
        self.overtaken += any(at_s < other_s for other_s in self._arrives_s.values())
        self._arrives_s[publisher] = at_s
        return at_s - now


class PubSub:
    """Who is not subscribed at that moment never hears of it, and the publisher sees no error."""

    def __init__(self, kernel: Kernel, latency_s: float, client: Client) -> None:
        self.kernel = kernel
        self.client = client
        self.latency_s = latency_s
        self.up = True
        self.subscriber: Gateway | None = None
        self.unheard = 0
        # What faults at work make of it.
        self.gaps: list[Gap] = []
        self.repeats: list[Repeats] = []
        self.reorderings: list[Reordering] = []

    def publish(self, notifications: Sequence[Notification]) -> list[int]:
        """Publish for the calling sim thread and return the number of subscribers each one reached."""
        self.kernel.sleep(self.latency_s)
        if self.kernel.watch is not None:
            told = " ".join(str(note.event_id) for note in notifications)
            self.kernel.watch.note("publish", rows=len(notifications), sql=told)
        if not self.client.waits_for_answer():
            raise Unavailable("redis: timed out")
        if not self.up:
            raise Unavailable("redis: connection refused")
        gateway = self.subscriber
        if gateway is None or self.gaps:
            return self._unheard(notifications)
        self._push(gateway, notifications, self._latency_s())
        for repeats in self.repeats:
            self._repeat(repeats, gateway, notifications)
        return [1] * len(notifications)

    def _unheard(self, notifications: Sequence[Notification]) -> list[int]:
        self.unheard += len(notifications)
        for gap in self.gaps:
            gap.missed += len(notifications)
        counted = self.subscriber is not None and all(gap.counted for gap in self.gaps)
        return [int(counted)] * len(notifications)

    def _latency_s(self) -> float:
        now, latency_s = self.kernel.now, self.latency_s
        if not self.reorderings:
            return latency_s
        thread = self.kernel.current
        assert thread is not None
        return max(r.delay_s(thread.node.name, now + latency_s, now) for r in self.reorderings)

    def _push(self, gateway: Gateway, notifications: Sequence[Notification], after_s: float) -> None:
        gateway.on_the_way += 1
        self.kernel.call_later(after_s, partial(gateway.arrive, notifications))

    def _repeat(self, repeats: Repeats, gateway: Gateway, notifications: Sequence[Notification]) -> None:
        if repeats.unanswered:
            if repeats.luck.random() < repeats.probability:
                repeats.hits += len(notifications)
                raise Unavailable("redis: connection closed before the answer")
            return
        again = [note for note in notifications if repeats.luck.random() < repeats.probability]
        repeats.hits += len(again)
        if again:
            self._push(gateway, again, self.latency_s + repeats.after_s)
