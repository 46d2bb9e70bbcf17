"""When a thread goes on that is about to send a statement: after a latency drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from tem_sim.scenario.store import Store
from tem_sim.scenario.streams import Stream, Streams
from tem_sim.sim.kernel import Kernel, SimThread

Way = Literal["connect", "statement", "commit"]


class Pace(Protocol):
    """Who goes on next, and when."""

    def pause(self, thread: SimThread, way: Way) -> None:
        """Hold the calling thread up before it connects, sends a statement or commits."""
        ...

    def again(self, thread: SimThread) -> None:
        """Hold the calling thread up that was parked for a lock and may try again."""
        ...


class Latencies:
    """Each thread has latencies of its own, so that none moves another's; a slow database stretches all of them."""

    def __init__(self, kernel: Kernel, model: Store, streams: Streams) -> None:
        self.kernel = kernel
        # What the faults at work do to a latency: each takes the node's name and the seconds, and returns seconds.
        self.stretched_by: list[Callable[[str, float], float]] = []
        # How many threads the database keeps waiting at this moment.
        self.at_work = 0
        self._model = model
        self._streams = streams
        self._luck: dict[str, Stream] = {}

    def pause(self, thread: SimThread, way: Way) -> None:
        """Let the latency pass; see `Pace.pause`."""
        luck = self._luck.get(thread.name)
        if luck is None:
            luck = self._luck[thread.name] = self._streams.stream("store-latency", thread.name)
        name = f"{way}_latency_s"
        own = self._model.nodes.get(thread.node.name)
        distribution = (own and getattr(own, name)) or getattr(self._model, name)
        latency_s = distribution.quantile(luck.random())
        self.spend(thread.node.name, latency_s)

    def spend(self, node: str, latency_s: float) -> None:
        """Let a latency of the calling thread pass, stretched by the faults at work."""
        self.at_work += 1
        try:
            for stretch in self.stretched_by:
                latency_s = stretch(node, latency_s)
            self.kernel.work(latency_s)
        finally:
            self.at_work -= 1

    def again(self, thread: SimThread) -> None:
        """Try again at once, in the order of parking; see `Pace.again`."""
